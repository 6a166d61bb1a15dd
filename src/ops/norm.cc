#include "ops/norm.h"

#include <utility>

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void AddNorm(const Exec& exec, const AddNormArgs& args) {
  const auto [rows, cols] = std::pair(args.x.rows, args.x.cols);
  CheckMatrix(args.x, rows, cols);
  CheckMatrix(args.out, rows, cols);
  if (!args.add.empty()) CheckMatrix(args.add, rows, cols);
  if (!args.sum.empty()) CheckMatrix(args.sum, rows, cols);
  if (!args.weight.empty()) CheckVector(args.weight, cols);
  if (!args.bias.empty()) CheckVector(args.bias, cols);
  PITH_CHECK(args.bias.empty() || args.layer_norm);
  if (args.out.empty()) return;
  KernelsFor(exec).add_norm(exec, args);
}

void Gate(const Exec& exec, const GateArgs& args) {
  const auto [rows, cols] = std::pair(args.y.rows, args.y.cols);
  CheckMatrix(args.y, rows, cols);
  CheckMatrix(args.z, rows, cols);
  CheckMatrix(args.out, rows, cols);
  if (!args.norm_weight.empty()) {
    CheckVector(args.norm_weight, cols);
    PITH_CHECK(args.group > 0 && cols % args.group == 0);
  }
  if (args.out.empty()) return;
  KernelsFor(exec).gate(exec, args);
}

}  // namespace pith
