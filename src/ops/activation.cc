#include "ops/activation.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void Activate(const Exec& exec, const ActivateArgs& args) {
  CheckMatrix(args.gate, args.out.rows, args.out.cols);
  CheckMatrix(args.out, args.gate.rows, args.gate.cols);
  if (!args.up.empty()) CheckMatrix(args.up, args.out.rows, args.out.cols);
  PITH_CHECK(args.activation <= Activation::kReluSquared);
  if (args.out.empty()) return;
  KernelsFor(exec).activate(exec, args);
}

}  // namespace pith
