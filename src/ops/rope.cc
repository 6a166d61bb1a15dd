#include "ops/rope.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void Rope(const Exec& exec, const RopeArgs& args) {
  PITH_CHECK(args.n_heads > 0 && args.head_dim > 0);
  PITH_CHECK(2 * static_cast<int64_t>(args.frequencies.size()) <= args.head_dim);
  CheckMatrix(args.x, static_cast<int64_t>(args.positions.size()), args.n_heads * args.head_dim);
  if (args.x.empty() || args.frequencies.empty()) return;
  KernelsFor(exec).rope(exec, args);
}

}  // namespace pith
