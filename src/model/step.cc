#include "model/step.h"

#include <bit>
#include <functional>
#include <vector>

#include "core/error.h"
#include "ops/rows.h"

namespace pith {

namespace {

// All that the launches of a step follow from: where its operands lie, and which slots it updates.
// Not where the model lies: another one may stand there later, with weights elsewhere.
void MakeKey(const Model& model, const StatePool& pool, const LayerRows& rows,
             MatView<float> logits, Workspace& ws) {
  const auto address = [](const void* p) { return std::bit_cast<int64_t>(p); };
  std::vector<int64_t>& key = ws.step_key;
  key.clear();
  key.push_back(model.serial());
  for (const void* p : {pool.layer(0).base, logits.data}) key.push_back(address(p));
  const auto add = [&](const DeviceMat<float>& m) {
    key.push_back(address(m.view().data));
    key.push_back(m.bytes());
  };
  for (const auto* m : {&ws.x, &ws.h, &ws.normed, &ws.squares, &ws.row_squares}) add(*m);
  for (const DeviceMat<float>& m : ws.mixer) add(m);
  key.insert(key.end(), rows.slots.begin(), rows.slots.end());
}

}  // namespace

void Step(const Model& model, const Exec& exec, StatePool& pool, std::span<const int32_t> ids,
          std::span<Sequence* const> sequences, Workspace& ws, LayerRows& rows,
          MatView<float> logits) {
  PITH_CHECK(ids.size() == sequences.size());
  const auto count = static_cast<int64_t>(ids.size());
  CheckTokenIds(model.config(), ids);
  rows.Clear();
  rows.rows = count;
  for (int64_t i = 0; i < count; ++i) {
    CheckLength(model, sequences[i]->tokens + 1);
    rows.segments.push_back({i, 1});
    rows.slots.push_back(sequences[i]->slot);
    rows.positions.push_back(static_cast<int32_t>(sequences[i]->tokens));
  }
  rows.ids.assign(ids.begin(), ids.end());
  ws.Reserve(exec, model.config().d_model, count);
  const MatView<float> x = ws.x.view();
  model.Embed(exec, ids, x);
  const auto work = [&] {
    ws.added = {};
    const LayerContext context{.exec = exec, .mode = LayerMode::kStep, .ws = ws};
    for (int64_t l = 0; l < model.n_layer(); ++l) {
      model.layer(l).Forward(context, rows, pool.layer(l), /*add=*/l > 0);
    }
    if (!ws.added.added) AddRows(exec, x, ws.h.view(), x);
    model.FinalNorm(exec, x);
    model.StepLogits(exec, x, logits);
  };
  if (model.repeats_steps()) {
    MakeKey(model, pool, rows, logits, ws);
    exec.backend->Repeat(exec.queue, ws.step_key, std::ref(work));  // by reference: no allocation
  } else {
    work();
  }
  for (Sequence* sequence : sequences) sequence->tokens += 1;
}

}  // namespace pith
