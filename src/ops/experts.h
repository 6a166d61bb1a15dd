// A mixture of experts: which of them a row goes to, and what they make of it.
#ifndef PITH_OPS_EXPERTS_H_
#define PITH_OPS_EXPERTS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"
#include "ops/activation.h"

namespace pith {

// How logits become the weights of the chosen experts.
enum class RouterKind : uint8_t {
  kSoftmaxOfChosen,  // the largest logits; softmax over these alone (Granite)
  kSoftmaxOfAll,     // the largest logits; softmax over all experts (Jamba)
  // The largest of sigmoid(logit) + correction within the best groups; a group is as good as its
  // two best together. The weight is the sigmoid (DeepSeek-V3, §2.1.2; Nemotron-H).
  kSigmoid,
};

struct RouteExpertsArgs {
  RouterKind kind = RouterKind::kSoftmaxOfChosen;
  MatView<const float> logits;        // [rows, experts]
  int64_t chosen = 1;                 // experts a row goes to
  bool normalise = false;             // weights are divided by their sum, and 1e-20 is added to it
  float scale = 1;                    // then multiplied by this
  std::span<const float> correction;  // kSigmoid: [experts] on the host, or empty: zeros
  int64_t groups = 1;                 // kSigmoid: runs of experts of equal length, at least so many
  int64_t chosen_groups = 1;          // that those hold `chosen`
};

// On the host: the rows of each expert. Within an expert they ascend. Its vectors keep their room
// from one call to the next.
struct Routing {
  std::vector<int64_t> begin;  // [experts + 1]: expert e has those from begin[e] to begin[e + 1]
  std::vector<int32_t> rows;
  std::vector<float> weights;

  std::vector<int32_t> experts;  // the same row by row: [rows, chosen], ascending within a row
  std::vector<float> shares;     // [rows, chosen]
  std::vector<float> logits;     // scratch: [rows, experts], as the ones below
  std::vector<double> scores;
  std::vector<uint8_t> taken;

  int64_t count() const { return static_cast<int64_t>(begin.size()) - 1; }
};

// Each row goes to `chosen` experts; of equals the lower one is taken, and NaN is below all
// numbers. Computed on the host in double, the same on every device that gives the same logits; a
// device that has a queue is waited for.
void RouteExperts(const Exec& exec, const RouteExpertsArgs& args, Routing& out);

struct ExpertWeights {
  WeightView gate;  // [d, in], or empty: the activation is up's own
  WeightView up;    // [d, in]
  WeightView down;  // [out, d]
};

struct ExpertMlpArgs {
  MatView<const float> x;  // [rows, in]
  const Routing* routing = nullptr;
  std::span<const ExpertWeights> experts;  // all of one size
  Activation activation = Activation::kSilu;
  bool step = false;  // by LinearStep
  // Scratch. The first two have room for rows · chosen, the others for `rows` rows; gate is not
  // read where experts have none.
  VecView<int32_t> order;
  VecView<float> weights;
  MatView<float> gathered;  // [rows, in]
  MatView<float> gate;      // [rows, d]
  MatView<float> up;        // [rows, d]
  MatView<float> product;   // [rows, out]
  bool add = false;         // to what `out` holds; else out must be contiguous
  MatView<float> out;       // [rows, out]; must not overlap x
};

// out[r] (+)= Σ weight · down(activation(gate x_r) · up x_r), or down(activation(up x_r)), over the
// experts of row r in ascending order: a row's bits do not depend on the rows beside it.
void ExpertMlp(const Exec& exec, const ExpertMlpArgs& args);

struct AddScaledRowsArgs {
  MatView<const float> x;        // [count, cols]
  VecView<const int32_t> rows;   // [count], in the backend's memory: different rows of out
  VecView<const float> weights;  // [count]
  MatView<float> out;            // [any, cols]; must not overlap x
};

// out[rows[i]] += weights[i] · x[i].
void AddScaledRows(const Exec& exec, const AddScaledRowsArgs& args);

}  // namespace pith

#endif  // PITH_OPS_EXPERTS_H_
