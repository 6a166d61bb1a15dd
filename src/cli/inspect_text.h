// How inspect shows the fate of every token.
#ifndef PITH_CLI_INSPECT_TEXT_H_
#define PITH_CLI_INSPECT_TEXT_H_

#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "pith/engine.h"

namespace pith::cli {

class InspectView {
 public:
  // Refers to the report.
  InspectView(const InspectReport& report, const Engine& engine);

  // `site` is an index into the plan's sites: then the tokens that enter it, as they leave it.
  OrderedJson ToJson(std::optional<int> site) const;
  std::string ToText(std::optional<int> site, bool colours) const;

 private:
  enum class Fate { kGone, kKept, kPruned, kMerged };
  Fate FateAt(const TokenFate& token, int site) const;
  OrderedJson TokenJson(size_t position, std::optional<int> site) const;
  std::string SiteText(int site, bool colours, size_t most_merges) const;
  std::string MergesText(int site, size_t most) const;

  const InspectReport* report_;
  std::vector<std::string> pieces_;  // text of each token; characters are never split
};

}  // namespace pith::cli

#endif  // PITH_CLI_INSPECT_TEXT_H_
