#include "cli/site_text.h"

namespace pith::cli {

std::string SitePlace(int layer) {
  return layer < 0 ? "before layer 0" : "after layer " + std::to_string(layer);
}

OrderedJson PlanJson(const PlanReport& plan) {
  OrderedJson sites = OrderedJson::array();
  for (const SiteRows& site : plan.sites) {
    sites.push_back({{"layer", site.layer}, {"in", site.in}, {"out", site.out}});
  }
  OrderedJson json = {{"reduce", plan.reduce},
                      {"tokens", plan.tokens},
                      {"sites", sites},
                      {"realised", plan.realised},
                      {"realised_blocks", plan.realised_blocks},
                      {"realised_full", plan.realised_full},
                      {"dense_gflop", plan.dense_gflop},
                      {"reduced_gflop", plan.reduced_gflop}};
  if (plan.skim) {
    json["skim"] = {{"far", plan.skim->far},
                    {"chunk", plan.skim->chunk},
                    {"realised_all_pairs", plan.skim->realised_all_pairs},
                    {"realised_no_pairs", plan.skim->realised_no_pairs}};
  }
  return json;
}

}  // namespace pith::cli
