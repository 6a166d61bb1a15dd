// pith plan: what a reduction would do to a prompt of some length, without reading one.
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/site_text.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"

namespace pith::cli {
namespace {

struct PlanFlags {
  ModelFlags model;
  ReductionFlags reduction;
  SeedFlag seed;
  OutputFlags output;
  int64_t length = 0;
  bool list = false;
};

OrderedJson ListJson() {
  OrderedJson methods = OrderedJson::array();
  for (const MethodInfo& method : ListReductions()) {
    OrderedJson keys = OrderedJson::array();
    for (const auto& key : method.keys) {
      keys.push_back({{"name", key.name}, {"default", key.fallback}, {"meaning", key.meaning}});
    }
    methods.push_back({{"name", method.name}, {"description", method.description}, {"keys", keys}});
  }
  return {{"methods", methods}};
}

// Names stand at the start of a line, everything else is indented: shell completion reads this.
std::string ListText() {
  std::string text;
  for (const MethodInfo& method : ListReductions()) {
    Table keys({{"", Align::kLeft}, {"", Align::kLeft}, {"", Align::kLeft}});
    for (const auto& key : method.keys) {
      keys.AddRow({"    " + key.name + "=", key.fallback, key.meaning});
    }
    text += method.name + "\n  " + method.description + "\n" + keys.ToString(false);
  }
  return text;
}

std::string PlanText(const PlanReport& plan) {
  Fields fields;
  fields.Add("reduction", plan.reduce);
  fields.Add("tokens", Grouped(plan.tokens));
  fields.Add("realised", Percent(plan.realised));
  fields.Add("  blocks", Percent(plan.realised_blocks) + " (layers alone)");
  fields.Add("  full", Percent(plan.realised_full) + " (layers and head)");
  if (plan.skim) {
    fields.Add("  of a text", Percent(plan.skim->realised_all_pairs) + " to " +
                                  Percent(plan.skim->realised_no_pairs) +
                                  ", as many far writes arrive");
    fields.Add("far tokens",
               Grouped(plan.skim->far) + " in chunks of " + Grouped(plan.skim->chunk));
  }
  fields.Add("GFLOP",
             Fixed(plan.dense_gflop, 2) + " dense, " + Fixed(plan.reduced_gflop, 2) + " reduced");
  if (plan.sites.empty()) return fields.ToString();
  Table sites({{"site"}, {"place", Align::kLeft}, {"in"}, {"out"}, {"removed"}, {"kept"}});
  for (size_t s = 0; s < plan.sites.size(); ++s) {
    const SiteRows& site = plan.sites[s];
    sites.AddRow({std::to_string(s + 1), SitePlace(site.layer), Grouped(site.in), Grouped(site.out),
                  Grouped(site.in - site.out),
                  site.in > 0 ? Percent(static_cast<double>(site.out) / site.in) : "-"});
  }
  return fields.ToString() + "\n" + sites.ToString();
}

int RunPlan(const PlanFlags& flags, const Context&) {
  Output output(flags.output.output);
  if (flags.list) {
    flags.output.json ? output.WriteJson(ListJson()) : output.Write(ListText());
    output.Commit();
    return kExitOk;
  }
  Require(!flags.model.model.empty() && flags.length > 0, ErrorCode::kInvalidArgument,
          "plan: --model DIR and --length N are required (or --list)");
  const ReductionText reduction = flags.reduction.Resolve(flags.seed);
  const Engine engine = flags.model.Load(false);
  const PlanReport plan = engine.Plan(flags.length, reduction.Compile(engine));
  flags.output.json ? output.WriteJson(PlanJson(plan)) : output.Write(PlanText(plan));
  output.Commit();
  return kExitOk;
}

}  // namespace

void AddPlan(CLI::App& app, Context& context) {
  AddVerb<PlanFlags>(
      app, context, "plan", "Rows at every site, FLOPs and realised reduction for a prompt length",
      "  pith plan --list\n"
      "  pith plan --model models/pith-27m-mamba2 --length 2048 --reduce utrc@30%\n"
      "  pith plan --model models/pith-27m-mamba2 --length 2048 --reduce random@20%:seed=3 \\\n"
      "      --sites 5,9,13 --json\n",
      [](CLI::App& verb, PlanFlags& flags) {
        verb.add_option("--length", flags.length, "Tokens of the prompt")
            ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
            ->type_name("N");
        verb.add_flag("--list", flags.list, "List the reduction methods and their keys");
        flags.reduction.Declare(verb);
        flags.seed.Declare(verb);
        flags.model.Declare(verb, false);
        flags.output.Declare(verb);
      },
      RunPlan);
}

}  // namespace pith::cli
