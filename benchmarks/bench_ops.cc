// Operators at the shapes of pith-27m-mamba2 (d_model 384), mamba-130m (768) and mamba2-2.7b
// (2560). Rates: "flop" counts multiplications and additions of the formulas; "bytes" what must be
// read and written once. Compare Linear with the machine's peak: f32 FMA lanes × 2 × clock × cores.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "ops/activation.h"
#include "ops/apply_plan.h"
#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/causal_conv1d.h"
#include "ops/far_weights.h"
#include "ops/far_write.h"
#include "ops/importance.h"
#include "ops/linear.h"
#include "ops/log_softmax.h"
#include "ops/match.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "ops/rows.h"
#include "ops/scan_features.h"
#include "ops/scan_importance.h"
#include "ops/selective_scan.h"
#include "ops/ssd.h"

namespace pith {
namespace {

Exec Cpu(int64_t threads, Precision precision = Precision::kF32) {
  return ExecOn(Device::kCpu, static_cast<int>(threads), precision);
}

std::vector<float> Values(int64_t n, float low = -1, float high = 1) {
  std::mt19937 engine(1);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> v(n);
  for (float& f : v) f = uniform(engine);
  return v;
}

VecView<const float> Vec(const std::vector<float>& v) {
  return {v.data(), static_cast<int64_t>(v.size())};
}

void Rates(benchmark::State& state, double flop, double bytes) {
  using benchmark::Counter;
  state.counters["flop"] = Counter(flop, Counter::kIsIterationInvariantRate);
  state.counters["bytes"] = Counter(bytes, Counter::kIsIterationInvariantRate);
}

// Arguments: in, out, rows, threads.
template <DType kDType, Precision kPrecision, bool kStep>
void BM_Linear(benchmark::State& state) {
  const int64_t in = state.range(0), out = state.range(1), rows = state.range(2);
  std::vector<float> x = Values(rows * in), y(rows * out);
  const std::vector<float> w = Values(in * out);
  std::vector<uint16_t> narrow(in * out);
  for (int64_t i = 0; i < in * out; ++i) narrow[i] = ToBF16(w[i]).bits;
  const void* data = kDType == DType::kF32 ? static_cast<const void*>(w.data()) : narrow.data();
  const Exec exec = Cpu(state.range(3), kPrecision);
  const Weight weights = exec.backend->Prepare(exec, {kDType, data, out, in}, WeightUse::kProduct);
  for (auto _ : state) {
    (kStep ? LinearStep : Linear)(exec, {x.data(), rows, in}, weights.view(), {},
                                  {y.data(), rows, out});
  }
  Rates(state, 2.0 * in * out * rows,
        static_cast<double>(in * out * SizeOf(kDType)) + 4.0 * rows * (in + out));
}
void LinearShapes(benchmark::internal::Benchmark* b) {
  for (const auto& [in, out] : std::vector<std::pair<int64_t, int64_t>>{
           {384, 1816}, {768, 384}, {768, 3352}, {1536, 768}, {2560, 10576}, {5120, 2560}}) {
    for (const int64_t rows : {4, 16, 64, 512, 2048}) b->Args({in, out, rows, 2});
    b->Args({in, out, 512, 1});
  }
}
void StepShapes(benchmark::internal::Benchmark* b) {
  for (const int64_t rows : {1, 4, 16}) {
    for (const int64_t threads : {1, 2}) b->Args({768, 3352, rows, threads});
    b->Args({768, 50288, rows, 2});
  }
}
BENCHMARK(BM_Linear<DType::kF32, Precision::kF32, false>)->Apply(LinearShapes)->UseRealTime();
BENCHMARK(BM_Linear<DType::kBF16, Precision::kF32, false>)->Apply(LinearShapes)->UseRealTime();
BENCHMARK(BM_Linear<DType::kBF16, Precision::kBF16, false>)->Apply(LinearShapes)->UseRealTime();
BENCHMARK(BM_Linear<DType::kF32, Precision::kF32, true>)->Apply(StepShapes)->UseRealTime();
BENCHMARK(BM_Linear<DType::kBF16, Precision::kF32, true>)->Apply(StepShapes)->UseRealTime();

// Weights of 8 bits with a scale a row. Arguments as of BM_Linear.
void BM_LinearInt8(benchmark::State& state) {
  const int64_t in = state.range(0), out = state.range(1), rows = state.range(2);
  const std::vector<float> x = Values(rows * in), drawn = Values(in * out, -127, 127);
  const std::vector<int8_t> w(drawn.begin(), drawn.end());
  const std::vector<float> scales(out, 0.01f);
  std::vector<float> y(rows * out);
  const Exec exec = Cpu(state.range(3));
  const Weight weights = exec.backend->Prepare(exec, {DType::kI8, w.data(), out, in, scales.data()},
                                               WeightUse::kProduct);
  for (auto _ : state) {
    Linear(exec, {x.data(), rows, in}, weights.view(), {}, {y.data(), rows, out});
  }
  Rates(state, 2.0 * in * out * rows,
        static_cast<double>(in * out) + 4.0 * static_cast<double>(rows * (in + out)));
}
BENCHMARK(BM_LinearInt8)->Apply(LinearShapes)->UseRealTime();

// Arguments: heads, head_dim, d_state, chunk, rows, threads.
template <bool kStep, Precision kPrecision>
void BM_Ssd(benchmark::State& state) {
  const int64_t heads = state.range(0), head_dim = state.range(1), d_state = state.range(2);
  const int64_t chunk = state.range(3), rows = state.range(4);
  const int64_t d_inner = heads * head_dim, stride = d_inner + 2 * d_state;
  const std::vector<float> xbc = Values(rows * stride), dt = Values(rows * heads, -4, 0);
  const std::vector<float> bias(heads, 0.0f), a = Values(heads, -4, -0.1f), d(heads, 1.0f);
  std::vector<float> y(rows * d_inner), stored(heads * d_state * head_dim);
  const Segment segment = {0, rows};
  const int32_t slot = 0;
  const MatView<const float> all(xbc.data(), rows, stride);
  const SsdArgs args = {.n_heads = heads,
                        .head_dim = head_dim,
                        .n_groups = 1,
                        .d_state = d_state,
                        .chunk = chunk,
                        .x = all.Cols(0, d_inner),
                        .b = all.Cols(d_inner, d_state),
                        .c = all.Cols(d_inner + d_state, d_state),
                        .dt = {dt.data(), rows, heads},
                        .dt_bias = Vec(bias),
                        .dt_max = 1e30f,
                        .a = Vec(a),
                        .d = Vec(d),
                        .segments = std::span(&segment, 1),
                        .states = {stored.data(), 0, std::span(&slot, 1)},
                        .y = {y.data(), rows, d_inner}};
  for (auto _ : state) (kStep ? SsdStep : Ssd)(Cpu(state.range(5), kPrecision), args);
  // Chunked: within the chunk half of chunk × head_dim, state in and out; the group's scores once.
  const double per_row = kStep ? 5.0 * heads * head_dim * d_state
                               : heads * head_dim * (chunk + 4.0 * d_state) + 2.0 * chunk * d_state;
  Rates(state, rows * per_row, 4.0 * rows * (stride + d_inner));
}
void SsdShapes(benchmark::internal::Benchmark* b) {
  for (const int64_t chunk : {32, 64, 128, 256}) b->Args({12, 64, 128, chunk, 1024, 2});
  b->Args({12, 64, 128, 64, 1024, 1});
  b->Args({24, 64, 128, 64, 1024, 2});
  b->Args({80, 64, 128, 64, 1024, 2});
}
void SsdStepShapes(benchmark::internal::Benchmark* b) {
  b->Args({12, 64, 128, 64, 1, 1})->Args({24, 64, 128, 64, 1, 1})->Args({80, 64, 128, 64, 1, 2});
}
BENCHMARK(BM_Ssd<false, Precision::kF32>)->Apply(SsdShapes)->UseRealTime();
BENCHMARK(BM_Ssd<false, Precision::kBF16>)->Apply(SsdShapes)->UseRealTime();
BENCHMARK(BM_Ssd<true, Precision::kF32>)->Apply(SsdStepShapes)->UseRealTime();

// Arguments: d_inner, d_state, rows, threads.
void BM_SelectiveScan(benchmark::State& state) {
  const int64_t d_inner = state.range(0), d_state = state.range(1), rows = state.range(2);
  const std::vector<float> x = Values(rows * d_inner), dt = Values(rows * d_inner, -4, 0);
  const std::vector<float> bc = Values(rows * 2 * d_state), bias = Values(d_inner);
  const std::vector<float> a = Values(d_inner * d_state, -16, -1);
  std::vector<float> y(rows * d_inner), stored(d_inner * d_state);
  const Segment segment = {0, rows};
  const int32_t slot = 0;
  const MatView<const float> both(bc.data(), rows, 2 * d_state);
  for (auto _ : state) {
    SelectiveScan(Cpu(state.range(3)), {.d_inner = d_inner,
                                        .d_state = d_state,
                                        .x = {x.data(), rows, d_inner},
                                        .dt = {dt.data(), rows, d_inner},
                                        .b = both.Cols(0, d_state),
                                        .c = both.Cols(d_state, d_state),
                                        .dt_bias = Vec(bias),
                                        .a = Vec(a),
                                        .d = Vec(bias),
                                        .segments = std::span(&segment, 1),
                                        .states = {stored.data(), 0, std::span(&slot, 1)},
                                        .y = {y.data(), rows, d_inner}});
  }
  // Of an exponential, only its one call is counted.
  Rates(state, 7.0 * rows * d_inner * d_state, 12.0 * rows * d_inner);
}
BENCHMARK(BM_SelectiveScan)
    ->Args({1536, 16, 512, 1})
    ->Args({1536, 16, 512, 2})
    ->Args({1536, 16, 1, 1})
    ->Args({5120, 16, 512, 2})
    ->UseRealTime();

// Arguments: heads, heads of keys, head_dim, rows of the text, rows that attend (its last),
// threads.
void BM_Attention(benchmark::State& state) {
  const int64_t heads = state.range(0), rows = state.range(3), count = state.range(4);
  const KvPageLayout layout{.n_kv_heads = state.range(1), .head_dim = state.range(2)};
  const std::vector<float> q = Values(count * heads * layout.head_dim);
  const std::vector<float> kv = Values(rows * layout.width());
  const int64_t pages = (rows + kKvPageRows - 1) / kKvPageRows;
  std::vector<float> memory(pages * layout.floats()), out(q.size());
  std::vector<float*> list(pages);
  for (int64_t p = 0; p < pages; ++p) list[p] = memory.data() + p * layout.floats();
  std::vector<int32_t> positions(rows);
  std::iota(positions.begin(), positions.end(), 0);
  const KvPages stored = {list, rows};
  const Segment all = {0, rows}, last = {0, count};
  const MatView<const float> written(kv.data(), rows, layout.width());
  WriteKv(Cpu(1), {.layout = layout,
                   .k = written,
                   .v = written,
                   .positions = positions,
                   .segments = std::span(&all, 1),
                   .kv = std::span(&stored, 1)});
  for (auto _ : state) {
    Attention(Cpu(state.range(5)), {.layout = layout,
                                    .n_heads = heads,
                                    .scale = 0.1f,
                                    .q = {q.data(), count, heads * layout.head_dim},
                                    .positions = std::span(positions).last(count),
                                    .segments = std::span(&last, 1),
                                    .kv = std::span(&stored, 1),
                                    .out = {out.data(), count, heads * layout.head_dim}});
  }
  // Of the keys that a query sees; exponentials are not counted.
  const double seen = static_cast<double>(count) * (rows - (count - 1) / 2.0);
  Rates(state, 4.0 * seen * heads * layout.head_dim, 8.0 * rows * layout.width());
}
void AttentionShapes(benchmark::internal::Benchmark* b) {
  for (const auto& [heads, kv, dim] :
       std::vector<std::tuple<int64_t, int64_t, int64_t>>{{12, 4, 64}, {32, 8, 128}}) {
    for (const int64_t rows : {2048, 8192}) {
      b->Args({heads, kv, dim, rows, std::min<int64_t>(rows, 2048), 1});
      b->Args({heads, kv, dim, rows, 1, 1});
      b->Args({heads, kv, dim, rows, 1, 2});
    }
    b->Args({heads, kv, dim, 2048, 2048, 2});
  }
}
BENCHMARK(BM_Attention)->Apply(AttentionShapes)->UseRealTime();

// Arguments: heads, head_dim, rows, threads.
void BM_Rope(benchmark::State& state) {
  const int64_t heads = state.range(0), head_dim = state.range(1), rows = state.range(2);
  std::vector<float> x = Values(rows * heads * head_dim);
  const std::vector<double> frequencies(head_dim / 2, 0.01);
  std::vector<int32_t> positions(rows);
  std::iota(positions.begin(), positions.end(), 100000);
  for (auto _ : state) {
    Rope(Cpu(state.range(3)), {.n_heads = heads,
                               .head_dim = head_dim,
                               .positions = positions,
                               .frequencies = frequencies,
                               .x = {x.data(), rows, heads * head_dim}});
  }
  Rates(state, 3.0 * rows * heads * head_dim, 8.0 * rows * heads * head_dim);
}
BENCHMARK(BM_Rope)->Args({16, 64, 512, 1})->Args({40, 128, 512, 2})->UseRealTime();

// Arguments: activation, d, rows, threads.
void BM_Activate(benchmark::State& state) {
  const int64_t d = state.range(1), rows = state.range(2);
  const std::vector<float> gate = Values(rows * d, -5, 5), up = Values(rows * d);
  std::vector<float> out(rows * d);
  for (auto _ : state) {
    Activate(Cpu(state.range(3)), {.activation = static_cast<Activation>(state.range(0)),
                                   .gate = {gate.data(), rows, d},
                                   .up = {up.data(), rows, d},
                                   .out = {out.data(), rows, d}});
  }
  Rates(state, 2.0 * rows * d, 12.0 * rows * d);
}
void ActivateShapes(benchmark::internal::Benchmark* b) {
  for (const int64_t activation : {0, 1, 2}) b->Args({activation, 2048, 512, 1});
}
BENCHMARK(BM_Activate)->Apply(ActivateShapes)->UseRealTime();

// Arguments: channels, rows, threads.
void BM_CausalConv1d(benchmark::State& state) {
  const int64_t channels = state.range(0), rows = state.range(1);
  const std::vector<float> x = Values(rows * channels), weight = Values(4 * channels);
  const std::vector<float> bias = Values(channels);
  std::vector<float> out(rows * channels), stored(3 * channels);
  const Segment segment = {0, rows};
  const int32_t slot = 0;
  for (auto _ : state) {
    CausalConv1d(Cpu(state.range(2)), {.x = {x.data(), rows, channels},
                                       .weight = Vec(weight),
                                       .bias = Vec(bias),
                                       .segments = std::span(&segment, 1),
                                       .states = {stored.data(), 0, std::span(&slot, 1)},
                                       .out = {out.data(), rows, channels}});
  }
  Rates(state, 8.0 * rows * channels, 8.0 * rows * channels);
}
BENCHMARK(BM_CausalConv1d)
    ->Args({1024, 512, 1})
    ->Args({1024, 512, 2})
    ->Args({1536, 512, 2})
    ->Args({5376, 512, 2})
    ->Args({1536, 1, 1})
    ->UseRealTime();

// Arguments: d, rows, threads.
void BM_AddNorm(benchmark::State& state) {
  const int64_t d = state.range(0), rows = state.range(1);
  std::vector<float> x = Values(rows * d), out(rows * d);
  const std::vector<float> add(rows * d, 0.0f), weight = Values(d);
  for (auto _ : state) {
    AddNorm(Cpu(state.range(2)), {.x = {x.data(), rows, d},
                                  .add = {add.data(), rows, d},
                                  .sum = {x.data(), rows, d},
                                  .weight = Vec(weight),
                                  .out = {out.data(), rows, d}});
  }
  Rates(state, 6.0 * rows * d, 16.0 * rows * d);
}
void BM_Gate(benchmark::State& state) {
  const int64_t d = state.range(0), rows = state.range(1);
  const std::vector<float> y = Values(rows * d), z = Values(rows * d, -5, 5), weight = Values(d);
  std::vector<float> out(rows * d);
  for (auto _ : state) {
    Gate(Cpu(state.range(2)), {.y = {y.data(), rows, d},
                               .z = {z.data(), rows, d},
                               .norm_weight = Vec(weight),
                               .group = d,
                               .out = {out.data(), rows, d}});
  }
  Rates(state, 6.0 * rows * d, 12.0 * rows * d);
}
void NormShapes(benchmark::internal::Benchmark* b) {
  b->Args({384, 512, 1})->Args({768, 512, 2})->Args({2560, 512, 2})->Args({768, 1, 1});
}
BENCHMARK(BM_AddNorm)->Apply(NormShapes)->UseRealTime();
BENCHMARK(BM_Gate)->Apply(NormShapes)->UseRealTime();

// Arguments: rows, d, threads.
void BM_AddRows(benchmark::State& state) {
  const int64_t rows = state.range(0), d = state.range(1);
  std::vector<float> x = Values(rows * d);
  const std::vector<float> h(rows * d, 0.0f);
  const MatView<float> view(x.data(), rows, d);
  for (auto _ : state) AddRows(Cpu(state.range(2)), view, {h.data(), rows, d}, view);
  Rates(state, 1.0 * rows * d, 12.0 * rows * d);
}
void BM_RowImportance(benchmark::State& state) {
  const int64_t rows = state.range(0), d = state.range(1);
  const std::vector<float> y = Values(rows * d);
  std::vector<float> out(rows);
  for (auto _ : state) {
    RowImportance(Cpu(state.range(2)), ImportanceKind::kClip, {y.data(), rows, d},
                  {out.data(), rows});
  }
  Rates(state, 1.0 * rows * d, 4.0 * rows * d);
}
// Half of the rows against the other half.
void BM_BestMatches(benchmark::State& state) {
  const int64_t rows = state.range(0), d = state.range(1);
  const std::vector<float> features = Values(rows * d);
  std::vector<int32_t> sources, targets;
  for (int32_t r = 0; r < rows; ++r) (r % 2 == 0 ? sources : targets).push_back(r);
  for (auto _ : state) {
    BestMatches(Cpu(state.range(2)), {features.data(), rows, d}, sources, targets, {});
  }
  Rates(state, 2.0 * rows * rows / 4 * d, 4.0 * rows * d);
}
// A third of the rows merge into their neighbours. Merged rows feed the next iteration, which costs
// the same.
void BM_ApplyPlan(benchmark::State& state) {
  const int64_t rows = state.range(0), d = state.range(1);
  std::vector<float> x = Values(rows * d);
  Plan plan;
  for (int32_t r = 0; r + 1 < rows; r += 3) plan.removed.push_back({r, r + 1, true, true});
  for (auto _ : state) {
    ApplyPlan(Cpu(state.range(2)), plan, Branch::kHidden, {x.data(), rows, d});
  }
  Rates(state, 1.0 * rows * d, 8.0 * rows * d);
}
void SiteShapes(benchmark::internal::Benchmark* b) {
  b->Args({512, 768, 1})->Args({512, 768, 2})->Args({2048, 1536, 2});
}
BENCHMARK(BM_AddRows)->Apply(SiteShapes)->UseRealTime();
BENCHMARK(BM_RowImportance)->Apply(SiteShapes)->UseRealTime();
BENCHMARK(BM_BestMatches)->Apply(SiteShapes)->UseRealTime();
BENCHMARK(BM_ApplyPlan)->Apply(SiteShapes)->UseRealTime();

// Arguments: units, d_state, rows, threads. The kind with the most exponentials.
void BM_ScanImportance(benchmark::State& state) {
  const int64_t rows = state.range(2);
  const ScanShape shape{.units = state.range(0), .d_state = state.range(1)};
  const std::vector<float> x = Values(rows * shape.units * 64), dt = Values(rows * shape.units);
  const std::vector<float> b = Values(rows * shape.d_state), a = Values(shape.units, -2, -1);
  std::vector<float> features(rows * shape.row_width()), out(rows);
  for (auto _ : state) {
    ScanFeatures(Cpu(state.range(3)), {.shape = shape,
                                       .dt = {dt.data(), rows, shape.units},
                                       .dt_bias = {a.data(), shape.units},
                                       .x = {x.data(), rows, shape.units * 64},
                                       .b = {b.data(), rows, shape.d_state},
                                       .c = {b.data(), rows, shape.d_state},
                                       .out = {features.data(), rows, shape.row_width()}});
    ScanImportance(Cpu(state.range(3)), {.kind = ImportanceKind::kFinalState,
                                         .shape = shape,
                                         .a = {a.data(), shape.units},
                                         .rows = {features.data(), rows, shape.row_width()},
                                         .importance = {out.data(), rows}});
  }
  Rates(state, 2.0 * rows * shape.units * (shape.d_state + 64), 4.0 * rows * shape.units * 64);
}
BENCHMARK(BM_ScanImportance)->Args({24, 128, 512, 1})->Args({24, 128, 512, 2})->UseRealTime();

// Arguments: d_model, heads, far rows, share of the writes that are made in percent, threads.
void BM_FarWrite(benchmark::State& state) {
  constexpr int64_t kDim = 64, kStates = 128;
  const int64_t d = state.range(0), heads = state.range(1), far = state.range(2);
  const int64_t channels = heads * kDim + 2 * kStates;
  const FarRegion region{.far = far, .chunk = 64};
  const int64_t chunks = CountChunks(region);
  const std::vector<float> rows = Values(far * d), w = Values(channels * d);
  const std::vector<float> conv = Values(4 * channels), dt = Values(far * heads);
  const std::vector<float> a = Values(heads, -1, -0.1f);
  std::vector<float> weight(heads * far), decay(heads), b(far * kStates), conv_state(3 * channels);
  std::vector<float> ssm_state(heads * kStates * kDim);
  std::vector<double> chunk_decay(heads * chunks), chunk_mass(heads * chunks);
  std::vector<uint8_t> needed(heads * chunks);
  for (int64_t i = 0; i < heads * chunks; ++i) needed[i] = i * 37 % 100 < state.range(3);
  const Exec exec = Cpu(state.range(4));
  const Weight prepared =
      exec.backend->Prepare(exec, {DType::kF32, w.data(), channels, d}, WeightUse::kProduct);
  for (auto _ : state) {
    FarWeights(Cpu(state.range(4)), {.region = region,
                                     .dt = {dt.data(), far, heads},
                                     .dt_bias = {a.data(), heads},
                                     .a = {a.data(), heads},
                                     .weight = {weight.data(), heads, far},
                                     .decay = {decay.data(), heads},
                                     .chunk_decay = chunk_decay,
                                     .chunk_mass = chunk_mass});
    FarWrite(Cpu(state.range(4)), {.region = region,
                                   .n_heads = heads,
                                   .head_dim = kDim,
                                   .n_groups = 1,
                                   .d_state = kStates,
                                   .rows = {rows.data(), far, d},
                                   .w = prepared.view(),
                                   .conv_weight = Vec(conv),
                                   .weight = {weight.data(), heads, far},
                                   .decay = {decay.data(), heads},
                                   .needed = needed,
                                   .b = {b.data(), far, kStates},
                                   .conv_state = conv_state.data(),
                                   .ssm_state = ssm_state.data()});
  }
  const double written =
      heads * kDim * (d + 4.0 + kStates) * static_cast<double>(state.range(3)) / 100;
  Rates(state, 2.0 * far * (written + kStates * (d + 4.0)), 4.0 * far * d);
}
BENCHMARK(BM_FarWrite)
    ->Args({384, 12, 1024, 100, 1})
    ->Args({384, 12, 1024, 30, 2})
    ->Args({768, 24, 1024, 100, 2})
    ->UseRealTime();

// Arguments: vocab, rows, threads.
void BM_ScoreLabels(benchmark::State& state) {
  const int64_t vocab = state.range(0), rows = state.range(1);
  const std::vector<float> logits = Values(rows * vocab, -10, 10);
  const std::vector<int32_t> labels(rows, 1);
  std::vector<LabelScore> out(rows);
  for (auto _ : state) {
    ScoreLabels(Cpu(state.range(2)), {logits.data(), rows, vocab}, labels, out);
  }
  Rates(state, 3.0 * rows * vocab, 4.0 * rows * vocab);
}
BENCHMARK(BM_ScoreLabels)->Args({50288, 64, 1})->Args({50288, 64, 2})->UseRealTime();

}  // namespace
}  // namespace pith

BENCHMARK_MAIN();
