// pith inspect: what a reduction does to each token of a text.
#include "cli/flags.h"
#include "cli/inspect_text.h"
#include "cli/io.h"
#include "cli/verbs.h"
#include "core/error.h"

namespace pith::cli {
namespace {

struct InspectFlags {
  ModelFlags model;
  ReductionFlags reduction;
  SeedFlag seed;
  OutputFlags output;
  TextFlags text;
  std::optional<int> site;
  bool bos = false;
};

// The index of the site at a layer.
std::optional<int> FindSite(const PlanReport& plan, std::optional<int> layer) {
  if (!layer) return std::nullopt;
  std::string known;
  for (size_t s = 0; s < plan.sites.size(); ++s) {
    if (plan.sites[s].layer == *layer) return static_cast<int>(s);
    known += (known.empty() ? "" : ", ") + std::to_string(plan.sites[s].layer);
  }
  Throw(ErrorCode::kInvalidArgument, "--site: got ", *layer, ", expected a site of ", plan.reduce,
        ": ", known.empty() ? "it has none" : known);
}

int RunInspect(const InspectFlags& flags, const Context& context) {
  const std::string text = flags.text.Read(context);
  const ReductionText asked = flags.reduction.Resolve(flags.seed);
  Output output(flags.output.output);
  const Engine engine = flags.model.Load();
  const Reduction reduction = asked.Compile(engine);
  const std::vector<int32_t> ids = engine.Tokenize(text, flags.bos);
  Require(!ids.empty(), ErrorCode::kInvalidArgument, flags.text.Source(),
          ": no tokens, expected at least one");
  // An unknown site is found before the text is read.
  const std::optional<int> site = FindSite(engine.Plan(ids.size(), reduction), flags.site);
  ProgressBar bar("reading", flags.output.quiet);
  const InspectReport report =
      engine.Inspect(ids, reduction, {.control = bar.Control(context.cancel)});
  bar.Clear();
  const InspectView view(report, engine);
  if (flags.output.json) {
    output.WriteJson(view.ToJson(site));
  } else {
    output.Write(view.ToText(site, flags.output.output.empty() && StdoutShowsColours()));
  }
  output.Commit();
  return kExitOk;
}

}  // namespace

void AddInspect(CLI::App& app, Context& context) {
  AddVerb<InspectFlags>(
      app, context, "inspect", "Show what was kept, pruned and merged of a text, site by site",
      "  pith inspect --model models/pith-27m-mamba2 --file page.txt --reduce utrc@30%\n"
      "  pith inspect --model models/pith-27m-mamba2 --file page.txt --reduce utrc@30% --site 7\n"
      "  pith inspect --model models/pith-13m-mamba1 --file - --reduce stride@20% --json\n",
      [](CLI::App& verb, InspectFlags& flags) {
        flags.text.Declare(verb, "text", "file", "Text");
        verb.add_option("--site", flags.site, "Look at the site after this layer alone")
            ->type_name("LAYER");
        flags.seed.Declare(verb);
        flags.reduction.Declare(verb);
        flags.model.Declare(verb);
        DeclareBos(verb, flags.bos);
        flags.output.Declare(verb);
      },
      RunInspect);
}

}  // namespace pith::cli
