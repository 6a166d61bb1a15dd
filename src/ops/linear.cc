#include "ops/linear.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {
namespace {

void Check(const MatView<const float>& x, const WeightView& w, VecView<const float> bias,
           const MatView<float>& out) {
  PITH_CHECK(x.cols == w.cols && w.cols > 0);
  CheckMatrix(x, out.rows, w.cols);
  CheckMatrix(out, x.rows, w.rows);
  PITH_CHECK(w.rows == 0 || w.data != nullptr);
  if (!bias.empty()) CheckVector(bias, w.rows);
}

}  // namespace

void Linear(const Exec& exec, MatView<const float> x, const WeightView& w,
            VecView<const float> bias, MatView<float> out) {
  Check(x, w, bias, out);
  if (out.empty()) return;
  KernelsFor(exec).linear(exec, x, w, bias, out);
}

void LinearStep(const Exec& exec, MatView<const float> x, const WeightView& w,
                VecView<const float> bias, MatView<float> out) {
  Check(x, w, bias, out);
  if (out.empty()) return;
  KernelsFor(exec).linear_step(exec, x, w, bias, out);
}

}  // namespace pith
