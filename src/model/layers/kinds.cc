#include "model/layers/kinds.h"

#include "core/error.h"
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

// A GPU records a step once and repeats it (Backend::Repeat), while what attention launches changes
// with every row that it holds.
void RequireKernels(const Exec& exec, std::string_view kind) {
  Require(exec.backend->device() != Device::kCuda, ErrorCode::kUnsupported, "device: got cuda, ",
          "expected cpu or reference for a model with ", kind,
          " layers, which pith does not run on a GPU yet");
}

}  // namespace pith
