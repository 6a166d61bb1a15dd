#include "model/step.h"

#include "core/error.h"
#include "model/block.h"
#include "model/head.h"
#include "ops/embed.h"
#include "ops/rows.h"

namespace pith {

void Step(const Model& model, const Exec& exec, std::span<const int32_t> ids,
          std::span<SequenceState* const> states, Workspace& ws, MatView<float> logits) {
  PITH_CHECK(ids.size() == states.size());
  const ModelConfig& config = model.config();
  const auto count = static_cast<int64_t>(ids.size());
  CheckTokenIds(config, ids);
  BlockRows rows{.rows = count, .segments = {}, .states = {states.begin(), states.end()}};
  for (int64_t i = 0; i < count; ++i) rows.segments.push_back({i, 1});
  ws.Reserve(config, count);
  const MatView<float> x = ws.x.view();
  Embed(exec, model.weights().embedding, ids, x);
  const BlockContext context{model, exec, BlockMode::kStep, 1, ws};
  for (int64_t layer = 0; layer < config.n_layer; ++layer) Block(context, rows, layer, layer == 0);
  AddRows(exec, x, ws.h.view(), x);
  FinalNorm(model, exec, x);
  StepLogits(model, exec, x, logits);
  for (SequenceState* state : states) state->AddTokens(1);
}

}  // namespace pith
