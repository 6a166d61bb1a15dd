// A file of LTMP's thresholds (docs/formats/ltmp.md).
#ifndef PITH_TESTS_REDUCE_LTMP_FILE_H_
#define PITH_TESTS_REDUCE_LTMP_FILE_H_

#include <filesystem>
#include <fstream>

#include "core/json.h"
#include "reduce/ltmp.h"

namespace pith::test {

inline void WriteLtmp(const LtmpThresholds& thresholds, const std::filesystem::path& path) {
  OrderedJson json = {{"format", "pith-ltmp-1"},
                      {"keep", thresholds.keep},
                      {"protect", thresholds.protect},
                      {"options", OrderedJson(thresholds.options)},
                      {"sites", OrderedJson::array()}};
  for (const LtmpThreshold& site : thresholds.sites) {
    json["sites"].push_back({{"layer", site.layer}, {"merge", site.merge}, {"prune", site.prune}});
  }
  std::ofstream(path) << json.dump(2) << "\n";
}

}  // namespace pith::test

#endif  // PITH_TESTS_REDUCE_LTMP_FILE_H_
