// All scratch of a forward pass: grown to what the model and the chunk need, then reused.
#ifndef PITH_MODEL_WORKSPACE_H_
#define PITH_MODEL_WORKSPACE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "ops/backend.h"
#include "ops/compact_rows.h"
#include "ops/experts.h"

namespace pith {

inline constexpr size_t kMixerScratch = 8;

// Not shared: one per running pass, or one for passes that take turns. A layer reads x and h of the
// layer before it, and leaves its own.
struct Workspace {
  DeviceMat<float> x;            // [rows, d_model] residual branch
  DeviceMat<float> h;            // [rows, d_model] hidden branch: the last layer's output
  CompactRows compact;           // the same where the next layer takes it so; then h holds nothing
  DeviceMat<float> squares;      // what compact points into
  bool importance_made = false;  // by the last layer: LayerContext::importance is filled
  bool added = false;            // in steps: the last layer has added its hidden branch to x itself
  DeviceMat<float> normed;       // [rows, d_model]
  DeviceMat<float> out;          // [rows, d_model] rows that a caller asked for
  DeviceMat<float> gather;       // [rows, any width] copies of rows that lie apart
  // What a mixer keeps between its operators. Each kind of layer numbers its own; the contents last
  // until the next layer runs.
  std::array<DeviceMat<float>, kMixerScratch> mixer;
  Routing routing;                // of the rows of a mixture of experts
  DeviceMat<int32_t> order;       // and which rows its experts read, one after the other
  std::vector<int64_t> step_key;  // of Backend::Repeat
  // Per far region, only under skim.
  DeviceMat<float> far_normed;  // [far, d_model]

  // Room for a chunk of `rows`: x, h, normed and out. What was there is forgotten.
  void Reserve(const Exec& exec, int64_t d_model, int64_t rows) {
    compact = {};
    added = false;
    for (DeviceMat<float>* m : {&x, &h, &normed, &out}) m->Resize(exec, rows, d_model);
  }
};

}  // namespace pith

#endif  // PITH_MODEL_WORKSPACE_H_
