#include "ops/far_write.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void FarWrite(const Exec& exec, const FarWriteArgs& args) {
  PITH_CHECK(args.region.far > 0 && args.region.chunk > 0);
  PITH_CHECK(args.n_heads > 0 && args.head_dim > 0 && args.d_state > 0);
  PITH_CHECK(args.n_groups > 0 && args.n_heads % args.n_groups == 0);
  PITH_CHECK(args.d_conv >= 1 && args.d_conv <= 8);
  const int64_t bc = args.n_groups * args.d_state;
  CheckMatrix(args.rows, args.region.far, args.w.cols);
  PITH_CHECK(args.w.rows == args.n_heads * args.head_dim + 2 * bc && args.w.data != nullptr);
  PITH_CHECK(args.conv_weight != nullptr && args.ssm_state != nullptr);
  PITH_CHECK(args.conv_state != nullptr || args.d_conv == 1);
  CheckMatrix(args.weight, args.n_heads, args.region.far);
  CheckVector(args.decay, args.n_heads);
  PITH_CHECK(static_cast<int64_t>(args.needed.size()) == args.n_heads * CountChunks(args.region));
  CheckMatrix(args.b, args.region.far, bc);
  KernelsFor(exec.device).far_write(exec, args);
}

}  // namespace pith
