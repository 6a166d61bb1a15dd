// A whole Mamba-2 mixer with random weights and states, and the same by single operators, for tests
// of its chunks (mamba2_mixer_test.cc) and of its steps (mamba2_step_test.cc).
//
// Bound: between its operators a whole mixer rounds to 16 bits: the normalised rows, in_proj's
// outputs, the convolution's, C Bᵀ with its decay and the state as operands, y, the gated rows, and
// out_proj's operands. Each of these 8 roundings moves a value by at most u of itself (2⁻⁸ for
// bf16, 2⁻¹¹ for f16), at random, so the relative distance of all values together stays below 8 u.
#ifndef PITH_TESTS_OPS_MAMBA2_MIXER_TESTING_H_
#define PITH_TESTS_OPS_MAMBA2_MIXER_TESTING_H_

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "ops/kernels.h"
#include "ops/linear.h"
#include "ops/mamba2_mixer.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {

inline constexpr int64_t kModel = 128, kHeads = 4, kHead = 64, kState = 128,
                         kInner = kHeads * kHead;
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline double Distance(const Shared<float>& a, const Shared<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    size += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / size);
}

struct Sizes {
  int64_t model = kModel, heads = kHeads;
};

// Weights, and the states of some sequences, with 16-byte alignment as models have it.
struct Mixer {
  Mixer(const Exec& exec, int64_t groups, bool norm_before_gate = false, int64_t sequences = 4,
        Sizes sizes = {})
      : exec(exec), groups(groups), before(norm_before_gate), sizes(sizes) {
    Random random(static_cast<uint32_t>(groups));
    const float within = 0.15f * std::sqrt(static_cast<float>(kModel) / sizes.model);
    const float without = 0.1f * std::sqrt(static_cast<float>(kInner) / inner());
    norm = random.Vector(sizes.model, 0.5f, 1.5f);
    in = random.Vector(in_rows() * sizes.model, -within, within);
    out = random.Vector(sizes.model * inner(), -without, without);
    conv_weight = random.Vector(channels() * 4, -0.5f, 0.5f);
    conv_bias = random.Vector(channels(), -0.1f, 0.1f);
    dt_bias = random.Vector(sizes.heads, -4, -1);
    a = random.Vector(sizes.heads, -4, -0.5f);
    d = random.Vector(sizes.heads);
    gated = random.Vector(inner(), 0.5f, 1.5f);
    conv_states = random.Vector(sequences * conv_size());
    states = random.Vector(sequences * state_size());
    in_proj = Prepare(exec, in, in_rows(), sizes.model);
    out_proj = Prepare(exec, out, sizes.model, inner());
  }
  // The states become of this type, rounded.
  void RoundStates(DType type) {
    state_type = type;
    halves.resize(states.size());
    for (size_t i = 0; i < states.size(); ++i) {
      halves[i] = type == DType::kBF16 ? ToBF16(states[i]).bits : ToF16(states[i]).bits;
    }
  }
  Shared<float> WideStates() const {
    Shared<float> wide;
    for (const uint16_t bits : halves) {
      wide.push_back(state_type == DType::kBF16 ? ToFloat(BF16{bits}) : ToFloat(F16{bits}));
    }
    return wide;
  }
  // Where slot 0 lies, and the floats from one slot to the next.
  StateSlots SlotsOf(const std::vector<int32_t>& slots) {
    if (state_type == DType::kF32) return {states.data(), state_size(), slots};
    return {reinterpret_cast<float*>(halves.data()), state_size() / 2, slots, state_type};
  }
  int64_t inner() const { return sizes.heads * kHead; }
  int64_t channels() const { return inner() + 2 * groups * kState; }
  int64_t in_rows() const { return inner() + channels() + sizes.heads; }
  int64_t conv_size() const { return 3 * channels(); }
  int64_t state_size() const { return sizes.heads * kState * kHead; }

  Mamba2MixerArgs Args(const std::vector<Segment>& segments, const std::vector<int32_t>& slots) {
    return {.norm = {.weight = Vec(norm)},
            .in_proj = in_proj.view(),
            .conv = {.weight = Vec(conv_weight),
                     .bias = Vec(conv_bias),
                     .segments = segments,
                     .states = {conv_states.data(), conv_size(), slots}},
            .ssd = {.n_heads = sizes.heads,
                    .head_dim = kHead,
                    .n_groups = groups,
                    .d_state = kState,
                    .dt_bias = Vec(dt_bias),
                    .dt_max = kInfinity,
                    .a = Vec(a),
                    .d = Vec(d),
                    .segments = segments,
                    .states = SlotsOf(slots)},
            .gate = {.norm_weight = Vec(gated), .group = inner(), .norm_before_gate = before},
            .out_proj = out_proj.view()};
  }

  Exec exec;
  int64_t groups;
  bool before;
  Sizes sizes;
  Shared<float> norm, in, out, conv_weight, conv_bias, dt_bias, a, d, gated, conv_states, states;
  Shared<uint16_t> halves;  // the states, where their type is not f32
  DType state_type = DType::kF32;
  Weight in_proj, out_proj;
};

struct Work {
  std::vector<Segment> segments;
  std::vector<int32_t> slots;
  std::vector<int64_t> wanted = {};  // empty: all
  bool step = false;
};

inline MatView<float> View(Shared<float>& v, int64_t cols) {
  return {v.data(), static_cast<int64_t>(v.size()) / cols, cols};
}

// What importance is wanted of the rows, and where.
struct Ranking {
  ImportanceKind kind = ImportanceKind::kClip;
  VecView<float> importance = {};
};

// h of the wanted rows of x.
inline Shared<float> Whole(Mixer& mixer, const Work& run, Shared<float> x,
                           Shared<float>* y = nullptr, const Ranking& ranking = {}) {
  const int64_t rows = static_cast<int64_t>(x.size()) / mixer.sizes.model;
  Mamba2MixerArgs args = mixer.Args(run.segments, run.slots);
  Shared<float> normed(x.size()), squares(rows * mixer.sizes.heads), proj(rows * mixer.in_rows()),
      gated(rows * mixer.inner()), conv(rows * mixer.channels()), dt(rows * mixer.sizes.heads),
      scan(rows * mixer.inner());
  const int64_t wanted = run.wanted.empty() ? rows : static_cast<int64_t>(run.wanted.size());
  Shared<float> h(wanted * mixer.sizes.model);
  args.norm.x = View(x, mixer.sizes.model);
  args.norm.out = View(normed, mixer.sizes.model);
  args.step = run.step;
  args.importance = ranking.importance;
  args.importance_kind = ranking.kind;
  args.wanted = run.wanted;
  args.h = View(h, mixer.sizes.model);
  args.squares = View(squares, mixer.sizes.heads);
  if (run.step) {
    args.step_proj = View(proj, mixer.in_rows());
    args.kept_gated = View(gated, mixer.inner());
  } else if (y != nullptr) {
    args.kept_conv = View(conv, mixer.channels());
    args.kept_dt = View(dt, mixer.sizes.heads);
    args.kept_y = View(scan, mixer.inner());
    args.kept_gated = View(gated, mixer.inner());
  }
  Mamba2Mixer(mixer.exec, args);
  mixer.exec.backend->Synchronize(mixer.exec.queue);
  if (y != nullptr) *y = scan;
  return h;
}

// The same by single operators.
inline Shared<float> Parts(Mixer& mixer, const Work& run, Shared<float> x,
                           Shared<float>* y_out = nullptr) {
  const Exec& exec = mixer.exec;
  const int64_t rows = static_cast<int64_t>(x.size()) / mixer.sizes.model;
  const Mamba2MixerArgs args = mixer.Args(run.segments, run.slots);
  Shared<float> normed(x.size()), proj(rows * mixer.in_rows()), conv(rows * mixer.channels()),
      y(rows * mixer.inner()), h(x.size());
  AddNormArgs norm = args.norm;
  norm.x = View(x, mixer.sizes.model);
  norm.out = View(normed, mixer.sizes.model);
  AddNorm(exec, norm);
  const MatView<float> p = View(proj, mixer.in_rows());
  Linear(exec, norm.out, args.in_proj, {}, p);
  CausalConv1dArgs convolution = args.conv;
  convolution.x = p.Cols(mixer.inner(), mixer.channels());
  convolution.out = View(conv, mixer.channels());
  CausalConv1d(exec, convolution);
  SsdArgs ssd = args.ssd;
  const int64_t bc = mixer.groups * kState;
  ssd.x = convolution.out.Cols(0, mixer.inner());
  ssd.b = convolution.out.Cols(mixer.inner(), bc);
  ssd.c = convolution.out.Cols(mixer.inner() + bc, bc);
  ssd.dt = p.Cols(mixer.inner() + mixer.channels(), mixer.sizes.heads);
  ssd.y = View(y, mixer.inner());
  Ssd(exec, ssd);
  if (y_out != nullptr) *y_out = y;
  GateArgs gate = args.gate;
  gate.y = ssd.y;
  gate.z = p.Cols(0, mixer.inner());
  gate.out = ssd.y;
  Gate(exec, gate);
  Linear(exec, gate.out, args.out_proj, {}, View(h, mixer.sizes.model));
  return h;
}

class Mamba2MixerTest : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    exec_ = Tested();
    exec_.precision = GetParam();
    if (KernelsFor(exec_).mamba2_mixer == nullptr) {
      GTEST_SKIP() << testing::DeviceName() << " has no kernel for whole mixers";
    }
  }
  double bound() const { return GetParam() == Precision::kBF16 ? 8 * 0x1p-8 : 8 * 0x1p-11; }
  static Shared<float> Rows(int64_t rows) {
    return Random(static_cast<uint32_t>(rows)).Vector(rows * kModel);
  }

  Exec exec_;
};

inline std::string PrecisionName(const ::testing::TestParamInfo<Precision>& info) {
  return info.param == Precision::kBF16 ? "bf16" : "f16";
}

}  // namespace pith::ops_testing

#endif  // PITH_TESTS_OPS_MAMBA2_MIXER_TESTING_H_
