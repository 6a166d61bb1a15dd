// pith perplexity: how well a model predicts a document, in one pass with carried state.
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"

namespace pith::cli {
namespace {

struct PerplexityFlags {
  ModelFlags model;
  OutputFlags output;
  TextFlags text;
  bool bos = false;
};

int RunPerplexity(const PerplexityFlags& flags, const Context& context) {
  const std::string text = flags.text.Read(context);
  Output output(flags.output.output);
  const Engine engine = flags.model.Load();
  const std::vector<int32_t> ids = engine.Tokenize(text, flags.bos);
  Require(ids.size() >= 2, ErrorCode::kInvalidArgument, flags.text.Source(), ": ", ids.size(),
          " tokens, expected at least 2 (the first is not predicted; --bos puts one before it)");
  ProgressBar bar("reading", flags.output.quiet);
  const Stopwatch watch;
  const PerplexityResult result = engine.Perplexity(ids, bar.Control(context.cancel));
  const double seconds = watch.seconds();
  bar.Clear();
  if (flags.output.json) {
    output.WriteJson({{"nll", result.nll},
                      {"ppl", result.ppl},
                      {"tokens", result.tokens},
                      {"seconds", seconds}});
  } else {
    Fields fields;
    fields.Add("nll", Fixed(result.nll, 6) + " nats a token");
    fields.Add("ppl", Fixed(result.ppl, 4));
    fields.Add("tokens", Grouped(result.tokens) + " predicted");
    fields.Add("time", Fixed(seconds, 2) + " s, " + PerSecond(result.tokens, seconds));
    output.Write(fields.ToString());
  }
  output.Commit();
  return kExitOk;
}

}  // namespace

void AddPerplexity(CLI::App& app, Context& context) {
  AddVerb<PerplexityFlags>(
      app, context, "perplexity", "Mean nats per predicted token of a document, read in one pass",
      "  pith perplexity --model models/pith-27m-mamba2 --file book.txt\n"
      "  pith perplexity --model models/pith-27m-mamba2 --bos --file book.txt --json\n"
      "  head -c 10000 book.txt | pith perplexity --model models/pith-13m-mamba1 --file -\n",
      [](CLI::App& verb, PerplexityFlags& flags) {
        flags.text.Declare(verb, "text", "file", "Document");
        flags.model.Declare(verb);
        DeclareBos(verb, flags.bos);
        flags.output.Declare(verb);
      },
      RunPerplexity);
}

}  // namespace pith::cli
