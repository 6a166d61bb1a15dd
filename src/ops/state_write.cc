#include "ops/state_write.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void StateWrite(const Exec& exec, const StateWriteArgs& args) {
  CheckMatrix(args.x, args.x.rows, args.x.cols);
  CheckMatrix(args.b, args.x.rows, args.b.cols);
  PITH_CHECK(args.state != nullptr && (args.x.rows == 0 || args.weight != nullptr));
  KernelsFor(exec).state_write(exec, args);
}

}  // namespace pith
