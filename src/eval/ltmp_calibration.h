// Thresholds for LTMP from contexts, by watching what stands at each site.
#ifndef PITH_EVAL_LTMP_CALIBRATION_H_
#define PITH_EVAL_LTMP_CALIBRATION_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "pith/engine.h"
#include "pith/reduction_spec.h"

namespace pith {

// Writes a file that `ltmp:thresholds=FILE` reads (docs/formats/ltmp.md). Per site, in order, so
// that over all `contexts` together the share of rows that `spec` asks for goes, half by merging
// and half by pruning: the thresholds of earlier sites hold at later ones. `spec` is an ltmp
// without thresholds; contexts are as they would be read. Costs one forward over them a site;
// progress is that of each; in between, the thresholds found so far stand in `file`.part. Throws
// kInvalidArgument for another method, for blocks, and for no context.
void CalibrateLtmp(const Engine& engine, const ReductionSpec& spec,
                   std::span<const std::vector<int32_t>> contexts,
                   const std::filesystem::path& file, const RunControl& control = {});

}  // namespace pith

#endif  // PITH_EVAL_LTMP_CALIBRATION_H_
