// Logits of texts, row by row.
#ifndef PITH_TESTS_GOLDEN_BATCH_LOGITS_H_
#define PITH_TESTS_GOLDEN_BATCH_LOGITS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"
#include "model/prefill.h"
#include "model/state_pool.h"
#include "model/workspace.h"
#include "ops/backend.h"
#include "ops/linear.h"

namespace pith::testing {

using Rows = std::vector<std::vector<float>>;

inline std::vector<float> RowOf(const Exec& exec, const DeviceMat<float>& rows, int64_t r) {
  std::vector<float> row(rows.cols());
  DownloadRows(exec, rows.Rows(r, 1), {row.data(), 1, rows.cols()});
  return row;
}

// Logits of every row, [tokens][vocab], of each text of a batch.
inline std::vector<Rows> BatchLogits(const Model& model, const Exec& exec,
                                     const std::vector<std::vector<int32_t>>& texts,
                                     StatePool& pool, std::span<Sequence> sequences) {
  std::vector<SequenceInput> batch;
  for (size_t i = 0; i < texts.size(); ++i) {
    batch.push_back({texts[i], &sequences[i], WantRows::kAll});
  }
  std::vector<Rows> out(texts.size());
  Workspace ws;
  Prefill(model, exec, pool, batch, {.ssd_chunk = 16}, ws,
          [&](std::span<const OutputRow> rows, MatView<const float> normed) {
            DeviceMat<float> logits;
            logits.Resize(exec, normed.rows, model.config().vocab_size);
            Linear(exec, normed, model.head(), {}, logits.view());
            for (int64_t r = 0; r < normed.rows; ++r) {
              out[rows[r].sequence].push_back(RowOf(exec, logits, r));
            }
          });
  return out;
}

// The same from the empty text.
inline std::vector<Rows> BatchLogits(const Model& model, const Exec& exec,
                                     const std::vector<std::vector<int32_t>>& texts) {
  StatePool pool(model, exec, std::ssize(texts));
  std::vector<Sequence> sequences(texts.size());
  for (Sequence& sequence : sequences) sequence.slot = pool.Take();
  return BatchLogits(model, exec, texts, pool, sequences);
}

}  // namespace pith::testing

#endif  // PITH_TESTS_GOLDEN_BATCH_LOGITS_H_
