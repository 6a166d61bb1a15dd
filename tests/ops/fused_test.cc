// Fused operators. Their compositions must have the bits of the single operators, called one after
// the other; what a backend offers in their place must equal the composition: to the bit where the
// backend has no kernel of its own, else to the rounding of its sums.
//
// Bounds for a kernel: both sides err against exact arithmetic by what norm_test, linear_test,
// ssd_test and selective_scan_test derive for the single operators, so they differ by at most twice
// the sum of these. Inputs are at most 1 in magnitude and weights at most 1 / depth, which keeps
// every sum of magnitudes at 1 or below; a scan's state is then at most rows · Δ.
#include "ops/fused.h"

#include <limits>

#include "ops/kernels.h"
#include "ops/linear.h"
#include "ops/rows.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

// `bound` is for a backend with a kernel.
void ExpectFused(bool kernel, const Strided& fused, const Strided& composition, double bound) {
  ExpectNear(fused, composition, [&](int64_t, int64_t) { return kernel ? bound : 0; });
  if (!kernel) ExpectSameBits(fused.view(), composition.view());
}

constexpr double Sum(int64_t terms) { return static_cast<double>(terms + 8) * kRounding; }

TEST(Fused, NormLinear) {
  for (const Exec& exec : ReferenceAndTested({1, 2})) {
    const bool kernel = KernelsFor(exec).norm_linear != nullptr;
    for (const bool step : {false, true}) {
      for (const int64_t rows : {1, 5, 33}) {
        constexpr int64_t kIn = 37, kOuts[] = {19, 64};
        Random random(static_cast<uint32_t>(rows));
        const Strided x(random, rows, kIn), h(random, rows, kIn);
        const Shared<float> weight = random.Vector(kIn), bias = random.Vector(kOuts[0]);
        Shared<float> w[2];
        for (int i : {0, 1}) w[i] = random.Vector(kOuts[i] * kIn, -1.0f / kIn, 1.0f / kIn);
        const Weight weights[] = {Prepare(exec, w[0], kOuts[0], kIn),
                                  Prepare(exec, w[1], kOuts[1], kIn)};
        const auto run = [&](int form) {
          std::vector<Strided> out = {Strided(rows, kOuts[0]), Strided(rows, kOuts[1]), x};
          Strided normed(rows, kIn);
          const AddNormArgs norm{.x = out[2].view(),
                                 .add = h.view(),
                                 .sum = out[2].view(),
                                 .weight = Vec(weight),
                                 .out = normed.view()};
          const Projection to[] = {{weights[0].view(), Vec(bias), out[0].view()},
                                   {weights[1].view(), {}, out[1].view()}};
          const NormLinearArgs args{.norm = norm, .to = to, .step = step};
          if (form == 0) {
            AddNorm(exec, norm);
            for (const Projection& p : to) {
              (step ? LinearStep : Linear)(exec, normed.view(), p.w, p.bias, p.out);
            }
          } else {
            (form == 1 ? composed::NormLinear : NormLinear)(exec, args);
          }
          return out;
        };
        const auto single = run(0), composition = run(1), fused = run(2);
        for (size_t i = 0; i < single.size(); ++i) {
          ExpectSameBits(composition[i].view(), single[i].view());
          // A normalised row is at most √d; the residual sum has one rounding, like AddNorm's.
          ExpectFused(kernel && i < 2, fused[i], composition[i],
                      2 * std::sqrt(kIn) * (Sum(kIn) + Sum(kIn)));
        }
      }
    }
  }
}

// What ConvSsdGate and ScanGate leave behind.
struct Left {
  Strided out;
  States conv, ssm;
};

void ExpectFusedStates(bool kernel, const States& fused, const States& composition, double bound) {
  for (size_t s = 0; s < fused.count(); ++s) {
    for (int64_t i = 0; i < fused.size(); ++i) {
      ASSERT_NEAR(fused.At(s, i), composition.At(s, i), kernel ? bound : 0);
    }
  }
}

// Without rows between them, which would be left as they are.
const std::vector<Segment> kSegments = {{0, 5}, {5, 1}, {6, 70}};
// The wanted rows, where not all are: of the first and of the last segment.
const std::vector<int64_t> kWanted = {3, 4, RowsOf(kSegments) - 1};

TEST(Fused, ConvSsdGate) {
  constexpr int64_t kHeads = 4, kDim = 9, kGroups = 2, kStates = 5, kInner = kHeads * kDim;
  constexpr int64_t kChannels = kInner + 2 * kGroups * kStates;
  const int64_t rows = RowsOf(kSegments);
  for (const Exec& exec : ReferenceAndTested({1, 2})) {
    const bool kernel = KernelsFor(exec).conv_ssd_gate != nullptr;
    for (const bool step : {false, true}) {
      for (const bool all : {true, false}) {
        Random random(17);
        const Strided x(random, rows, kChannels), dt(random, rows, kHeads, -3, 0);
        const int64_t wanted = all ? rows : static_cast<int64_t>(kWanted.size());
        const Strided z(random, wanted, kInner);
        const Shared<float> weight = random.Vector(4 * kChannels, -0.25f, 0.25f);
        const Shared<float> bias(kHeads, 0), a = random.Vector(kHeads, -2, -0.1f);
        const Shared<float> d = random.Vector(kHeads), norm = random.Vector(kInner);
        const States conv_state(random, kSegments.size(), 3 * kChannels);
        const States ssm_state(random, kSegments.size(), kHeads * kStates * kDim);
        const auto run = [&](int form, bool keep) {
          Left left{Strided(wanted, kInner), conv_state, ssm_state};
          Strided conv(rows, kChannels), y(rows, kInner), gathered(wanted, kInner);
          ConvSsdGateArgs args{
              .conv = {.x = x.view(),
                       .weight = Vec(weight),
                       .segments = kSegments,
                       .states = left.conv.view(),
                       .out = conv.view()},
              .ssd = {.n_heads = kHeads,
                      .head_dim = kDim,
                      .n_groups = kGroups,
                      .d_state = kStates,
                      .chunk = 16,
                      .dt = dt.view(),
                      .dt_bias = Vec(bias),
                      .dt_max = std::numeric_limits<float>::infinity(),
                      .a = Vec(a),
                      .d = Vec(d),
                      .segments = kSegments,
                      .states = left.ssm.view(),
                      .y = y.view()},
              .step = step,
              .gate = {.z = z.view(),
                       .norm_weight = Vec(norm),
                       .group = kInner,
                       .out = left.out.view()},
              .read = {.wanted = kWanted, .gathered = gathered.view(), .keep = keep}};
          if (form > 0) {
            (form == 1 ? composed::ConvSsdGate : ConvSsdGate)(exec, args);
            return left;
          }
          CausalConv1d(exec, args.conv);
          args.ssd.x = conv.view().Cols(0, kInner);
          args.ssd.b = conv.view().Cols(kInner, kGroups * kStates);
          args.ssd.c = conv.view().Cols(kInner + kGroups * kStates, kGroups * kStates);
          (step ? SsdStep : Ssd)(exec, args.ssd);
          args.gate.y = y.view();
          if (!all) {
            GatherRows(exec, {.a = y.view(), .a_rows = kWanted, .out = gathered.view()});
            args.gate.y = gathered.view();
          }
          Gate(exec, args.gate);
          return left;
        };
        const Left single = run(0, true), composition = run(1, true);
        ExpectSameBits(composition.out.view(), single.out.view());
        ExpectFusedStates(false, composition.ssm, single.ssm, 0);
        ExpectFusedStates(false, composition.conv, single.conv, 0);
        // Δ ≤ log 2 a row; a state of `rows` terms; the norm divides by what may be small, eps at
        // the least, so that its bound is relative to 1 / √eps in the worst case.
        const double state = static_cast<double>(rows) * Sum(2 * rows + 30);
        for (const bool keep : {true, false}) {
          const Left fused = run(2, keep);
          ExpectFused(kernel, fused.out, composition.out, 2 * kStates * state / std::sqrt(1e-5));
          ExpectFusedStates(kernel, fused.ssm, composition.ssm, 2 * state);
          ExpectFusedStates(kernel, fused.conv, composition.conv, 0);
        }
      }
    }
  }
}

TEST(Fused, ScanGate) {
  constexpr int64_t kInner = 70, kStates = 5;
  const int64_t rows = RowsOf(kSegments);
  for (const Exec& exec : ReferenceAndTested({1, 2})) {
    const bool kernel = KernelsFor(exec).scan_gate != nullptr;
    for (const bool all : {true, false}) {
      Random random(19);
      const Strided x(random, rows, kInner), dt(random, rows, kInner, -3, 0);
      const Strided b(random, rows, kStates), c(random, rows, kStates);
      const int64_t wanted = all ? rows : static_cast<int64_t>(kWanted.size());
      const Strided z(random, wanted, kInner);
      const Shared<float> bias(kInner, 0), a = random.Vector(kInner * kStates, -2, -0.1f);
      const Shared<float> d = random.Vector(kInner);
      const States state(random, kSegments.size(), kInner * kStates);
      const auto run = [&](int form, bool keep) {
        Left left{Strided(wanted, kInner), States(), state};
        Strided y(rows, kInner), gathered(wanted, kInner);
        ScanGateArgs args{.scan = {.d_inner = kInner,
                                   .d_state = kStates,
                                   .x = x.view(),
                                   .dt = dt.view(),
                                   .b = b.view(),
                                   .c = c.view(),
                                   .dt_bias = Vec(bias),
                                   .a = Vec(a),
                                   .d = Vec(d),
                                   .segments = kSegments,
                                   .states = left.ssm.view(),
                                   .y = y.view()},
                          .gate = {.z = z.view(), .out = left.out.view()},
                          .read = {.wanted = kWanted, .gathered = gathered.view(), .keep = keep}};
        if (form > 0) {
          (form == 1 ? composed::ScanGate : ScanGate)(exec, args);
          return left;
        }
        SelectiveScan(exec, args.scan);
        args.gate.y = y.view();
        if (!all) {
          GatherRows(exec, {.a = y.view(), .a_rows = kWanted, .out = gathered.view()});
          args.gate.y = gathered.view();
        }
        Gate(exec, args.gate);
        return left;
      };
      const Left single = run(0, true), composition = run(1, true);
      ExpectSameBits(composition.out.view(), single.out.view());
      ExpectFusedStates(false, composition.ssm, single.ssm, 0);
      const double bound = static_cast<double>(rows) * Sum(2 * rows + 30);
      for (const bool keep : {true, false}) {
        const Left fused = run(2, keep);
        ExpectFused(kernel, fused.out, composition.out, 2 * kStates * bound);
        ExpectFusedStates(kernel, fused.ssm, composition.ssm, 2 * bound);
      }
    }
  }
}

TEST(Fused, ACallersMistakeIsFound) {
  Shared<float> data(64);
  const MatView<float> two(data.data(), 2, 4), three(data.data(), 3, 4);
  const WeightView w = pith::RowsOf({DType::kF32, data.data(), 4, 4});
  const Projection wrong{w, {}, three};
  EXPECT_THROW(NormLinear(kReference, {.norm = {.x = two, .out = two}, .to = std::span(&wrong, 1)}),
               Error);
}

}  // namespace
}  // namespace pith::ops_testing
