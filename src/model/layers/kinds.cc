#include "model/layers/kinds.h"

#include "ops/linear.h"
#include "ops/rows.h"

namespace pith {

void Project(const LayerContext& context, MatView<const float> x, const WeightView& w,
             VecView<const float> bias, MatView<float> out) {
  (context.mode == LayerMode::kStep ? LinearStep : Linear)(context.exec, x, w, bias, out);
}

MatView<float> Scratch(const LayerContext& context, size_t name, int64_t rows, int64_t cols) {
  DeviceMat<float>& scratch = context.ws.mixer[name];
  scratch.Resize(context.exec, rows, cols);
  return scratch.view();
}

void Adapter::Add(const LayerContext& context, MatView<const float> x, size_t low, size_t sum,
                  MatView<float> y) const {
  const MatView<float> inner = Scratch(context, low, x.rows, down.rows());
  const MatView<float> more = Scratch(context, sum, x.rows, up.rows());
  Project(context, x, down.view(), {}, inner);
  Project(context, inner, up.view(), {}, more);
  AddRows(context.exec, y, more, y);
}

MatView<const float> NormWanted(const LayerContext& context, const LayerRows& rows,
                                const AddNormArgs& norm) {
  AddNorm(context.exec, norm);
  if (rows.wanted == nullptr) return norm.out;
  context.ws.gather.Resize(context.exec, rows.wanted_rows(), norm.out.cols);
  const MatView<float> wanted = context.ws.gather.view();
  if (!rows.wanted->empty()) {
    GatherRows(context.exec,
               {.a = norm.out, .a_rows = *rows.wanted, .b = {}, .b_rows = {}, .out = wanted});
  }
  return wanted;
}

}  // namespace pith
