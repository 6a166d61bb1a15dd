#include "ops/causal_conv1d.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void CausalConv1d(const Exec& exec, const CausalConv1dArgs& args) {
  CheckMatrix(args.x, args.x.rows, args.x.cols);
  CheckMatrix(args.out, args.x.rows, args.x.cols);
  PITH_CHECK(args.d_conv >= 1 && args.d_conv <= 8);
  CheckVector(args.weight, args.x.cols * args.d_conv);
  if (!args.bias.empty()) CheckVector(args.bias, args.x.cols);
  CheckSegments(args.segments, args.states, args.x.rows);
  PITH_CHECK(args.segments.empty() || args.d_conv == 1 || args.states.base != nullptr);
  if (args.out.empty()) return;
  KernelsFor(exec).causal_conv1d(exec, args);
}

}  // namespace pith
