// pith score: how likely a continuation is after a context; one pair, or many from a file.
#include <algorithm>
#include <span>

#include "cli/flags.h"
#include "cli/io.h"
#include "cli/score_items.h"
#include "cli/score_text.h"
#include "cli/verbs.h"
#include "core/error.h"

namespace pith::cli {
namespace {

// Pairs handed to the engine together: enough to fill its batches, few enough that results of a
// long file appear as they are made.
constexpr size_t kGroup = 256;

struct ScoreFlags {
  ModelFlags model;
  ReductionFlags reduction;
  SeedFlag seed;
  OutputFlags output;
  TextFlags context;
  TextFlags continuation;
  std::string items;
  bool strict = false;
  std::string scoring = "context";
  bool logprobs = false;
  bool bos = false;
};

// What can be wrong without a model.
ReductionText CheckFlags(const ScoreFlags& flags) {
  ParseScoringMode(flags.scoring);
  return flags.reduction.Resolve(flags.seed);
}

ScoreOptions MakeOptions(const ScoreFlags& flags, const Engine& engine) {
  ScoreOptions options;
  options.reduction = CheckFlags(flags).Compile(engine);
  options.mode = ParseScoringMode(flags.scoring);
  options.logprobs = flags.logprobs;
  return options;
}

ScoreItem Encode(const ScoreFlags& flags, const Engine& engine, const std::string& context,
                 const std::string& continuation, const std::string& source) {
  ScoreItem item = engine.EncodePair(context, continuation, flags.bos);
  const auto code = flags.items.empty() ? ErrorCode::kInvalidArgument : ErrorCode::kCorruptData;
  Require(!item.continuation.empty(), code, source,
          ": no tokens of its own after the context, expected at least one");
  Require(!item.context.empty() || item.continuation.size() > 1, code, source,
          ": one token after no context, expected two at least (the first is not predicted; --bos "
          "puts one before it)");
  return item;
}

int RunPair(const ScoreFlags& flags, const Context& context) {
  Require(!flags.context.from_stdin() || !flags.continuation.from_stdin(),
          ErrorCode::kInvalidArgument,
          "--context-file - --continuation-file -: standard input can be read once");
  const std::string before = flags.context.Read(context);
  const std::string after = flags.continuation.Read(context);
  CheckFlags(flags);
  Output output(flags.output.output);
  const Engine engine = flags.model.Load();
  ScoreOptions options = MakeOptions(flags, engine);
  const ScoreItem item = Encode(flags, engine, before, after, flags.continuation.Source());
  ProgressBar bar("scoring", flags.output.quiet);
  options.control = bar.Control(context.cancel);
  const ScoreResult result = engine.Score({&item, 1}, options).at(0);
  bar.Clear();
  if (flags.output.json) {
    output.WriteJson(ScoreJson(result, engine));
  } else {
    output.Write(ScoreText(result));
    if (flags.logprobs) output.Write("\n" + LogprobsText(result, engine));
  }
  output.Commit();
  return kExitOk;
}

struct EncodedPair {
  const TextPair* text;
  ScoreItem item;
};

// Everything that a line can have wrong is found before anything is scored.
std::vector<EncodedPair> EncodeAll(const ScoreFlags& flags, const Engine& engine,
                                   std::span<const TextPair> pairs, const std::string& source,
                                   BadLines& bad) {
  std::vector<EncodedPair> encoded;
  for (const TextPair& pair : pairs) {
    bad.Try(pair.line, [&] {
      encoded.push_back({&pair, Encode(flags, engine, pair.context, pair.continuation,
                                       StrCat(source, ":", pair.line, ": continuation"))});
    });
  }
  Require(!encoded.empty(), ErrorCode::kCorruptData, source, ": no line holds an item");
  return encoded;
}

void PrintItem(const ScoreFlags& flags, const Engine& engine, const TextPair& pair,
               const ScoreResult& result, Output& output) {
  if (!flags.output.json) {
    output.Write(ItemText(pair.line, result));
    if (flags.logprobs) output.Write(LogprobsText(result, engine) + "\n");
    return;
  }
  OrderedJson json = {{"line", pair.line}};
  if (!pair.id.is_null()) json["id"] = pair.id;
  json.update(ScoreJson(result, engine));
  output.WriteJson(json);
}

// Results appear in the order of the items, group by group.
void ScoreGroups(const ScoreFlags& flags, const Context& context, const Engine& engine,
                 std::span<const EncodedPair> pairs, ScoreSummary& summary, Output& output) {
  ScoreOptions options = MakeOptions(flags, engine);
  ProgressBar bar("scoring", flags.output.quiet);
  for (size_t begin = 0; begin < pairs.size(); begin += kGroup) {
    const auto group = pairs.subspan(begin, std::min(kGroup, pairs.size() - begin));
    std::vector<ScoreItem> items;
    for (const EncodedPair& pair : group) items.push_back(pair.item);
    const auto share = [&](size_t at) { return static_cast<double>(at) / pairs.size(); };
    options.control = bar.Control(context.cancel, share(begin), share(begin + group.size()));
    const std::vector<ScoreResult> results = engine.Score(items, options);
    bar.Clear();
    for (size_t i = 0; i < group.size(); ++i) {
      PrintItem(flags, engine, *group[i].text, results.at(i), output);
      summary.Add(results.at(i));
    }
  }
}

int FinishItems(const ScoreFlags& flags, const std::string& summary,
                const std::vector<int64_t>& left_out, Output& output) {
  if (!flags.output.json) {
    output.Write("\n" + summary);
  } else if (!left_out.empty()) {
    output.WriteJson({{"left_out", left_out.size()}, {"lines_left_out", left_out}});
  }
  output.Commit();
  if (flags.output.json && !flags.output.quiet) WriteError(summary);
  if (left_out.empty()) return kExitOk;
  WriteError(StrCat("pith: error: ", left_out.size(), left_out.size() == 1 ? " line" : " lines",
                    " left out\n"));
  return kExitFile;
}

int RunItems(const ScoreFlags& flags, const Context& context) {
  Require(!flags.context.given() && !flags.continuation.given(), ErrorCode::kInvalidArgument,
          "--items excludes --context and --continuation");
  const std::string source = flags.items == "-" ? "standard input" : flags.items;
  BadLines bad(flags.strict, [](const std::string& message) {
    WriteError(StrCat("pith: error: ", message, "\n"));
  });
  const std::vector<TextPair> pairs =
      ParseItems(ReadInput(flags.items, *context.cancel), source, bad);
  CheckFlags(flags);  // a bad reduction costs no loading
  Output output(flags.output.output);
  const Engine engine = flags.model.Load();
  const std::vector<EncodedPair> items = EncodeAll(flags, engine, pairs, source, bad);
  const Stopwatch watch;
  ScoreSummary summary;
  if (!flags.output.json) output.Write(ItemHeader());
  try {
    ScoreGroups(flags, context, engine, items, summary, output);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    Throw(ErrorCode::kCancelled, "cancelled after ", summary.items(), " of ", items.size(),
          " items", flags.output.output.empty() ? "" : "; " + flags.output.output + " not written");
  }
  return FinishItems(flags, summary.ToText(watch.seconds()), bad.lines(), output);
}

int RunScore(const ScoreFlags& flags, const Context& context) {
  return flags.items.empty() ? RunPair(flags, context) : RunItems(flags, context);
}

void Declare(CLI::App& verb, ScoreFlags& flags) {
  flags.context.Declare(verb, "context", "context-file", "Context");
  flags.continuation.Declare(verb, "continuation", "continuation-file", "Continuation");
  verb.add_option("--items", flags.items,
                  "JSON lines with \"context\", \"continuation\" and, if wanted, \"id\"")
      ->type_name("FILE");
  verb.add_flag("--strict", flags.strict,
                "Stop at the first bad line of --items, instead of leaving it out (exit code 3)");
  verb.add_option("--scoring", flags.scoring,
                  "context, survivors, published-tail or paper-first; see docs/scoring.md")
      ->type_name("MODE")
      ->capture_default_str();
  verb.add_flag("--logprobs", flags.logprobs, "List every continuation token");
  flags.seed.Declare(verb);
  flags.reduction.Declare(verb);
  flags.model.Declare(verb);
  DeclareBos(verb, flags.bos);
  flags.output.Declare(verb);
}

}  // namespace

void AddScore(CLI::App& app, Context& context) {
  AddVerb<ScoreFlags>(
      app, context, "score", "Log-likelihood of a continuation given a context, in nats",
      "  pith score --model models/pith-27m-mamba2 --context 'The cat sat on' \\\n"
      "      --continuation ' the mat' --logprobs\n"
      "  pith score --model models/pith-27m-mamba2 --context-file c.txt --continuation-file d.txt "
      "\\\n"
      "      --reduce utrc@30% --sites 5,7,9,11,13,15 --json\n"
      "  pith score --model models/pith-27m-mamba2 --items pairs.jsonl --json --output out.jsonl\n",
      Declare, RunScore);
}

}  // namespace pith::cli
