#include "ops/experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "core/parallel.h"
#include "ops/backend.h"
#include "ops/checks.h"
#include "ops/kernels.h"
#include "ops/linear.h"
#include "ops/rows.h"

namespace pith {
namespace {

enum Taken : uint8_t { kFree, kTaken, kClosed };  // kClosed: its group is not among the best

// One row's part of the scratch.
struct RouteRow {
  std::span<const float> logits;
  std::span<double> scores;
  std::span<uint8_t> taken;
  std::span<int32_t> experts;
  std::span<float> shares;
};

bool IsBetter(double score, double than) {
  return score > than || (std::isnan(than) && !std::isnan(score));
}

// The place of the largest score that is free: the first of equals.
int64_t Largest(const RouteRow& row) {
  int64_t best = -1;
  for (size_t i = 0; i < row.scores.size(); ++i) {
    if (row.taken[i] != kFree) continue;
    if (best < 0 || IsBetter(row.scores[i], row.scores[best])) best = static_cast<int64_t>(i);
  }
  return best;
}

double SumOfTwoLargest(std::span<const double> scores) {
  double first = scores[0], second = -std::numeric_limits<double>::infinity();
  for (const double score : scores.subspan(1)) {
    second = IsBetter(score, first) ? std::exchange(first, score) : std::max(second, score);
  }
  return scores.size() == 1 ? first : first + second;
}

// Closes all groups but the best.
void ChooseGroups(const RouteExpertsArgs& args, const RouteRow& row) {
  const int64_t size = args.logits.cols / args.groups;
  std::fill(row.taken.begin(), row.taken.end(), kClosed);
  for (int64_t i = 0; i < args.chosen_groups; ++i) {
    int64_t best = -1;
    double best_score = 0;
    for (int64_t g = 0; g < args.groups; ++g) {
      if (row.taken[g * size] != kClosed) continue;
      const double score = SumOfTwoLargest(row.scores.subspan(g * size, size));
      if (best >= 0 && !IsBetter(score, best_score)) continue;
      best = g;
      best_score = score;
    }
    std::fill_n(row.taken.begin() + best * size, size, kFree);
  }
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// What the experts are chosen by.
void Score(const RouteExpertsArgs& args, const RouteRow& row) {
  std::copy(row.logits.begin(), row.logits.end(), row.scores.begin());
  std::fill(row.taken.begin(), row.taken.end(), kFree);
  if (args.kind != RouterKind::kSigmoid) return;
  for (size_t e = 0; e < row.scores.size(); ++e) {
    row.scores[e] = Sigmoid(row.scores[e]) + (args.correction.empty() ? 0 : args.correction[e]);
  }
  if (args.chosen_groups < args.groups) ChooseGroups(args, row);
}

// The weights of the chosen experts, before they are normalised and scaled.
void Weigh(const RouteExpertsArgs& args, const RouteRow& row, std::span<double> weights) {
  double largest = row.logits[row.experts[0]];
  for (const int32_t e : row.experts) largest = std::max<double>(largest, row.logits[e]);
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double logit = row.logits[row.experts[i]];
    weights[i] = args.kind == RouterKind::kSigmoid ? Sigmoid(logit) : std::exp(logit - largest);
    sum += weights[i];
  }
  if (args.kind == RouterKind::kSigmoid) return;
  if (args.kind == RouterKind::kSoftmaxOfAll) {
    sum = 0;
    for (const float logit : row.logits) sum += std::exp(logit - largest);
  }
  for (double& w : weights) w /= sum;
}

void Route(const RouteExpertsArgs& args, const RouteRow& row) {
  Score(args, row);
  for (int32_t& expert : row.experts) {
    expert = static_cast<int32_t>(Largest(row));
    row.taken[expert] = kTaken;
  }
  std::sort(row.experts.begin(), row.experts.end());
  const auto weights = row.scores.first(row.experts.size());  // the scores have done their work
  Weigh(args, row, weights);
  const double sum = args.normalise ? std::accumulate(weights.begin(), weights.end(), 1e-20) : 1.0;
  for (size_t i = 0; i < weights.size(); ++i) {
    row.shares[i] = static_cast<float>(weights[i] / sum * args.scale);
  }
}

// Row by row → expert by expert.
void Sort(int64_t experts, int64_t chosen, Routing& out) {
  out.begin.assign(experts + 1, 0);
  for (const int32_t e : out.experts) ++out.begin[e + 1];
  std::partial_sum(out.begin.begin(), out.begin.end(), out.begin.begin());
  out.rows.resize(out.experts.size());
  out.weights.resize(out.experts.size());
  for (size_t i = 0; i < out.experts.size(); ++i) {
    const int64_t at = out.begin[out.experts[i]]++;
    out.rows[at] = static_cast<int32_t>(i / chosen);
    out.weights[at] = out.shares[i];
  }
  // Each begin stands at its expert's end now.
  std::rotate(out.begin.rbegin(), out.begin.rbegin() + 1, out.begin.rend());
  out.begin[0] = 0;
}

void CheckExperts(const ExpertMlpArgs& args) {
  PITH_CHECK(args.routing != nullptr && !args.experts.empty());
  PITH_CHECK(args.routing->count() == static_cast<int64_t>(args.experts.size()));
  const ExpertWeights& first = args.experts[0];
  for (const ExpertWeights& e : args.experts) {
    PITH_CHECK(e.gate.empty() == first.gate.empty());
    PITH_CHECK(e.gate.empty() || (e.gate.rows == e.up.rows && e.gate.cols == args.x.cols));
    PITH_CHECK(e.up.rows == first.up.rows && e.up.cols == args.x.cols);
    PITH_CHECK(e.down.cols == first.up.rows && e.down.rows == args.out.cols);
  }
  const int64_t rows = args.x.rows;
  CheckMatrix(args.x, rows, args.x.cols);
  CheckMatrix(args.out, rows, args.out.cols);
  CheckMatrix(args.gathered, rows, args.x.cols);
  if (!first.gate.empty()) CheckMatrix(args.gate, rows, first.gate.rows);
  CheckMatrix(args.up, rows, first.up.rows);
  CheckMatrix(args.product, rows, args.out.cols);
  CheckVector(args.order, static_cast<int64_t>(args.routing->rows.size()));
  CheckVector(args.weights, args.order.size);
  PITH_CHECK(args.add || args.out.stride == args.out.cols);
  for (const int32_t row : args.routing->rows) PITH_CHECK(row >= 0 && row < rows);
}

void RunExpert(const Exec& exec, const ExpertMlpArgs& args, const ExpertWeights& expert,
               int64_t begin, int64_t count) {
  const auto linear = args.step ? LinearStep : Linear;
  const auto order = args.order.Part(begin, count);
  const auto rows = args.gathered.Rows(0, count), up = args.up.Rows(0, count);
  const auto product = args.product.Rows(0, count);
  TakeRows(exec, {.a = args.x, .rows = order, .out = rows});
  linear(exec, rows, expert.up, {}, up);
  if (expert.gate.empty()) {
    Activate(exec, {.activation = args.activation, .gate = up, .out = up});
  } else {
    const auto gate = args.gate.Rows(0, count);
    linear(exec, rows, expert.gate, {}, gate);
    Activate(exec, {.activation = args.activation, .gate = gate, .up = up, .out = up});
  }
  linear(exec, up, expert.down, {}, product);
  AddScaledRows(
      exec,
      {.x = product, .rows = order, .weights = args.weights.Part(begin, count), .out = args.out});
}

}  // namespace

void RouteExperts(const Exec& exec, const RouteExpertsArgs& args, Routing& out) {
  const auto [rows, experts] = std::pair(args.logits.rows, args.logits.cols);
  CheckMatrix(args.logits, rows, experts);
  PITH_CHECK(experts > 0 && args.chosen > 0 && args.chosen <= experts);
  PITH_CHECK(args.correction.empty() || static_cast<int64_t>(args.correction.size()) == experts);
  PITH_CHECK(args.groups > 0 && experts % args.groups == 0);
  PITH_CHECK(args.chosen_groups > 0 && args.chosen_groups <= args.groups);
  PITH_CHECK(args.chosen <= experts / args.groups * args.chosen_groups);
  PITH_CHECK(args.kind == RouterKind::kSigmoid || (args.correction.empty() && args.groups == 1));
  const auto width = static_cast<size_t>(experts), chosen = static_cast<size_t>(args.chosen);
  out.logits.resize(rows * width);
  out.scores.resize(rows * width);
  out.taken.resize(rows * width);
  out.experts.resize(rows * chosen);
  out.shares.resize(rows * chosen);
  DownloadRows(exec, args.logits, {out.logits.data(), rows, experts});
  constexpr int64_t kBlock = 32;  // rows that are worth waking a thread
  ParallelFor(exec.threads, (rows + kBlock - 1) / kBlock, [&](int64_t block) {
    for (int64_t r = block * kBlock; r < std::min(rows, (block + 1) * kBlock); ++r) {
      Route(args, {.logits = std::span(out.logits).subspan(r * width, width),
                   .scores = std::span(out.scores).subspan(r * width, width),
                   .taken = std::span(out.taken).subspan(r * width, width),
                   .experts = std::span(out.experts).subspan(r * chosen, chosen),
                   .shares = std::span(out.shares).subspan(r * chosen, chosen)});
    }
  });
  Sort(experts, args.chosen, out);
}

void ExpertMlp(const Exec& exec, const ExpertMlpArgs& args) {
  CheckExperts(args);
  if (args.out.empty()) return;
  Backend& backend = *exec.backend;
  const Routing& routing = *args.routing;
  if (!args.add) {
    backend.Clear(exec.queue, args.out.data,
                  args.out.rows * args.out.cols * static_cast<int64_t>(sizeof(float)));
  }
  backend.Upload(exec.queue, routing.rows.data(), args.order.data,
                 args.order.size * static_cast<int64_t>(sizeof(int32_t)));
  backend.Upload(exec.queue, routing.weights.data(), args.weights.data,
                 args.weights.size * static_cast<int64_t>(sizeof(float)));
  for (size_t e = 0; e < args.experts.size(); ++e) {
    const int64_t count = routing.begin[e + 1] - routing.begin[e];
    if (count > 0) RunExpert(exec, args, args.experts[e], routing.begin[e], count);
  }
}

void AddScaledRows(const Exec& exec, const AddScaledRowsArgs& args) {
  CheckMatrix(args.x, args.x.rows, args.out.cols);
  CheckMatrix(args.out, args.out.rows, args.x.cols);
  CheckVector(args.rows, args.x.rows);
  CheckVector(args.weights, args.x.rows);
  if (args.x.empty()) return;
  KernelsFor(exec).add_scaled_rows(exec, args);
}

}  // namespace pith
