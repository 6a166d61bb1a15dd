#include "serve/inspect_json.h"

namespace pith::serve {
namespace {

OrderedJson TokenJson(const Engine& engine, const InspectReport& report, const TokenFate& token) {
  OrderedJson json = {{"text", engine.Detokenize({&token.id, 1})}};
  if (token.site < 0) {
    json["fate"] = token.far ? "far" : "kept";
    return json;
  }
  json["fate"] = token.merged_into < 0 ? "pruned" : "merged";
  json["site"] = report.plan.sites.at(token.site).layer;
  if (token.merged_into >= 0) json["into"] = token.merged_into;
  return json;
}

}  // namespace

OrderedJson InspectJson(const Engine& engine, const std::string& reduce,
                        const InspectReport* report, std::span<const int32_t> whole) {
  OrderedJson sites = OrderedJson::array();
  OrderedJson tokens = OrderedJson::array();
  double realised = 0;
  int64_t far = 0;
  if (report != nullptr) {
    for (const SiteRows& site : report->plan.sites) {
      sites.push_back({{"layer", site.layer}, {"rows_in", site.in}, {"rows_out", site.out}});
    }
    for (const TokenFate& token : report->tokens) {
      tokens.push_back(TokenJson(engine, *report, token));
    }
    realised = report->plan.realised;
    if (report->plan.skim) far = report->plan.skim->far;
  }
  for (const int32_t id : whole) {
    tokens.push_back({{"text", engine.Detokenize({&id, 1})}, {"fate", "whole"}});
  }
  return {{"reduce", reduce},
          {"realised", realised},
          {"far", far},
          {"sites", sites},
          {"tokens", tokens}};
}

}  // namespace pith::serve
