// All scratch of a forward pass: grown to what the model and the chunk need, then reused.
//
// On the CPU a workspace in which a pass of a shape was read (rows of a chunk, texts in it, wanted
// rows), and a step of as many texts taken, is in a *steady state* for that shape:
// - A step, and a chunk through all of its layers, allocates nothing.
// - A pass that begins takes its own lists: of its texts, groups and chunks, and, with its first
//   chunk and its first wanted row, of a chunk's rows, at most 16 bytes a row in one list. Their
//   number does not depend on the layers.
// What is allocated beside that is no scratch: pages of keys and values (KvStates), what a
// reduction keeps of a whole context and plans over it, and what a caller does in a RowSink.
// Scratch of kernels belongs to a thread and grows when the thread first needs it.
#ifndef PITH_MODEL_WORKSPACE_H_
#define PITH_MODEL_WORKSPACE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "model/layer_rows.h"
#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/compact_rows.h"
#include "ops/experts.h"
#include "ops/mamba2_mixer.h"

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
  AddedRows added;               // in steps: whether the last layer has added h to x itself
  DeviceMat<float> row_squares;  // what added points into
  DeviceMat<float> normed;       // [rows, d_model]
  DeviceMat<float> out;          // [rows, d_model] rows that a caller asked for
  DeviceMat<float> gather;       // [rows, any width] copies of rows that lie apart
  // What a mixer keeps between its operators. Each kind of layer numbers its own; the contents last
  // until the next layer runs.
  std::array<DeviceMat<float>, kMixerScratch> mixer;
  Routing routing;                // of the rows of a mixture of experts
  DeviceMat<int32_t> order;       // and which rows its experts read, one after the other
  std::vector<int64_t> step_key;  // of Backend::Repeat
  // Lists of the layer that runs.
  std::vector<KvPages> kv_pages;      // per segment, what its slot holds
  std::vector<int64_t> first_wanted;  // per segment, of its rows
  LayerRows all_rows;                 // the layer's, where a part of it wants them all
  // Per far region, only under skim.
  DeviceMat<float> far_normed;  // [far, d_model]

  // Room for a chunk of `rows`: x, h, normed and out. What was there is forgotten.
  void Reserve(const Exec& exec, int64_t d_model, int64_t rows) {
    compact = {};
    added = {};
    for (DeviceMat<float>* m : {&x, &h, &normed, &out}) m->Resize(exec, rows, d_model);
  }
};

}  // namespace pith

#endif  // PITH_MODEL_WORKSPACE_H_
