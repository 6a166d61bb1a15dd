#include "ops/mamba1_mixer.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

bool TakesMamba1Mixer(const Exec& exec, const Mamba1MixerArgs& args) {
  const auto takes = KernelsFor(exec).takes_mamba1_mixer;
  return takes != nullptr && takes(exec, args);
}

void Mamba1Mixer(const Exec& exec, const Mamba1MixerArgs& args) {
  PITH_CHECK(TakesMamba1Mixer(exec, args));
  const int64_t rows = args.norm.x.rows;
  const int64_t d_inner = args.scan.d_inner;
  const int64_t d_state = args.scan.d_state;
  PITH_CHECK(args.in_proj.cols == args.norm.x.cols && args.in_proj.rows == 2 * d_inner);
  PITH_CHECK(args.x_proj.cols == d_inner && args.x_proj.rows == args.dt_proj.cols + 2 * d_state);
  PITH_CHECK(args.dt_proj.rows == d_inner && args.out_proj.cols == d_inner);
  CheckVector(args.conv.weight, d_inner * args.conv.d_conv);
  CheckVector(args.scan.a, d_inner * d_state);
  CheckVector(args.scan.d, d_inner);
  CheckVector(args.scan.dt_bias, d_inner);
  CheckSegments(args.conv.segments, args.conv.states, rows);
  CheckSegments(args.scan.segments, args.scan.states, rows);
  CheckMatrix(args.h, args.h.rows, args.out_proj.rows);
  PITH_CHECK(args.h.rows == rows || static_cast<int64_t>(args.wanted.size()) == args.h.rows);
  PITH_CHECK(args.compact == nullptr || (!args.step && args.h.rows == rows));
  PITH_CHECK(args.add.empty() || args.norm.add.empty());
  if (rows == 0) return;
  KernelsFor(exec).mamba1_mixer(exec, args);
}

}  // namespace pith
