// What scoring reads off a row of logits.
#ifndef PITH_OPS_LOG_SOFTMAX_H_
#define PITH_OPS_LOG_SOFTMAX_H_

#include <cstdint>
#include <span>
#include <vector>

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"

namespace pith {

template <class T>
class DeviceMat;  // ops/backend.h

struct LabelScore {
  float logprob = 0;      // log softmax(logits)[label], nats
  float top_logprob = 0;  // the largest log-probability; the same float where the label holds it
  int32_t top = 0;        // its index; ties go to the lower one
};

// Scores labels[i] against logits row i. logits [rows, vocab]; labels in [0, vocab).
// The exponentials are summed in f32 or wider: error of the result ≤ 1e-6 · (1 + |logprob|).
void ScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out);

// The `count` largest of a row of logits [1, vocab]: their indices, the largest first, of equals
// the lower one first. Fewer where the row is shorter. Copies the row to the host.
std::vector<int32_t> LargestLogits(const Exec& exec, MatView<const float> logits, int64_t count);

struct ScoreHeadArgs {
  MatView<const float> x;           // [rows, d_model]
  WeightView w;                     // [vocab, d_model]: the head
  std::span<const int32_t> labels;  // [rows] in [0, vocab), on the host
  // Scratch of the composition, which gives it the size it needs. Who scores often keeps it.
  DeviceMat<float>* logits = nullptr;
  std::span<LabelScore> out;  // [rows], on the host
};

// ScoreLabels of the logits x wᵀ, which are never held for all rows: a composition of Linear and
// ScoreLabels by 256 rows, bits included, or a backend's kernel, which agrees with it to the
// rounding of the sums. A row's scores depend on that row and the weights alone.
void ScoreHead(const Exec& exec, const ScoreHeadArgs& args);

namespace composed {
void ScoreHead(const Exec& exec, const ScoreHeadArgs& args);
}  // namespace composed

}  // namespace pith

#endif  // PITH_OPS_LOG_SOFTMAX_H_
