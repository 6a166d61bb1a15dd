#include "model/step.h"

#include "core/error.h"
#include "ops/rows.h"

namespace pith {

void Step(const Model& model, const Exec& exec, StatePool& pool, std::span<const int32_t> ids,
          std::span<Sequence* const> sequences, Workspace& ws, LayerRows& rows,
          MatView<float> logits) {
  PITH_CHECK(ids.size() == sequences.size());
  const auto count = static_cast<int64_t>(ids.size());
  CheckTokenIds(model.config(), ids);
  rows.Clear();
  rows.rows = count;
  for (int64_t i = 0; i < count; ++i) {
    rows.segments.push_back({i, 1});
    rows.slots.push_back(sequences[i]->slot);
    rows.positions.push_back(static_cast<int32_t>(sequences[i]->tokens));
  }
  ws.Reserve(exec, model.config().d_model, count);
  const MatView<float> x = ws.x.view();
  model.Embed(exec, ids, x);
  LayerContext context{.exec = exec, .mode = LayerMode::kStep, .observed = false, .ws = ws};
  for (int64_t l = 0; l < model.n_layer(); ++l) {
    context.compact = l + 1 < model.n_layer() && model.layer(l + 1).TakesCompact(context);
    model.layer(l).Forward(context, rows, pool.layer(l), /*add=*/l > 0);
  }
  AddRows(exec, x, ws.h.view(), x);
  model.FinalNorm(exec, x);
  model.StepLogits(exec, x, logits);
  for (Sequence* sequence : sequences) sequence->tokens += 1;
}

}  // namespace pith
