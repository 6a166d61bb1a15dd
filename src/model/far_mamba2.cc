// Mamba-2's far writes: Δ for all far rows; x per head and B per group only where a write arrives.
#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "model/far.h"
#include "ops/causal_conv1d.h"
#include "ops/linear.h"
#include "ops/state_write.h"

namespace pith {
namespace {

// Bounds a thread's scratch. Fixed: sums of state writes associate by it.
constexpr int64_t kBlockRows = 1024;

class Writer {
 public:
  Writer(const BlockContext& context, int64_t layer, const FarRegion& region,
         const Horizon& horizon, SequenceState& state)
      : context_(context),
        config_(context.model.config()),
        weights_(context.model.layer(layer)),
        layer_(layer),
        region_(region),
        horizon_(horizon),
        state_(state),
        normed_(context.ws.far_normed.view().Rows(0, region.far)),
        heads_(config_.n_heads) {
    alone_.threads = 1;
  }

  FarWritten Run() {
    PlanHeads();
    for (int64_t g = 0; g < config_.n_groups; ++g) ReadB(g);
    ParallelFor(context_.exec.threads, config_.n_heads, [&](int64_t h) { WriteHead(h); });
    UpdateConvState();
    return Count();
  }

 private:
  int64_t HeadsPerGroup() const { return config_.n_heads / config_.n_groups; }
  float* ConvState() const { return state_.conv(layer_); }  // [d_conv − 1, conv_channels]

  void PlanHeads() {
    MatOwner<float>& raw = context_.ws.far_dt;
    raw.Resize(region_.far, config_.n_heads);
    const int64_t begin = config_.d_inner + config_.conv_channels();
    ProjectColumns(context_.exec, normed_, begin, raw.view());
    ParallelFor(context_.exec.threads, config_.n_heads, [&](int64_t h) {
      std::vector<float> dt(region_.far);
      for (int64_t t = 0; t < region_.far; ++t) {
        const float v = raw.view().Row(t)[h] + weights_.dt_bias[h];
        const float softplus = std::max(v, 0.0f) + std::log1p(std::exp(-std::abs(v)));
        dt[t] = std::clamp(softplus, config_.dt_min, config_.dt_max);
      }
      heads_[h] = PlanWrites(dt, context_.model.a(layer_)[h], region_, horizon_);
    });
  }

  // out = in_proj's outputs [begin, begin + out.cols) of normalised rows.
  void ProjectColumns(const Exec& exec, MatView<const float> rows, int64_t begin,
                      MatView<float> out) const {
    Linear(exec, rows, weights_.in_proj.Rows(begin, out.cols),
           weights_.in_proj_bias.empty() ? nullptr : weights_.in_proj_bias.data() + begin, out);
  }

  // Channels [channel, channel + out.cols) after convolution and SiLU, for rows [rows.begin,
  // rows.end). Earlier inputs come from the far rows before, or from the carried state.
  void ReadChannels(const Exec& exec, const RowRun& rows, int64_t channel,
                    MatView<float> out) const {
    const int64_t taps = config_.d_conv - 1;
    const int64_t from = std::max<int64_t>(0, rows.begin - taps);
    MatOwner<float> in(rows.end - from, out.cols);
    ProjectColumns(exec, normed_.Rows(from, in.rows()), config_.d_inner + channel, in.view());
    MatOwner<float> history(taps, out.cols);
    for (int64_t i = 0; i < taps; ++i) {
      const int64_t t = rows.begin - taps + i;
      const float* row = t >= 0 ? in.view().Row(t - from)
                                : ConvState() + (taps + t) * config_.conv_channels() + channel;
      std::copy_n(row, out.cols, history.view().Row(i));
    }
    const Segment segment{0, out.rows};
    float* states[] = {history.view().data};
    CausalConv1d(
        exec, {.x = in.view().Rows(rows.begin - from, out.rows),
               .weight = weights_.conv_weight.data() + channel * config_.d_conv,
               .bias = weights_.conv_bias.empty() ? nullptr : weights_.conv_bias.data() + channel,
               .d_conv = config_.d_conv,
               .segments = {&segment, 1},
               .states = states,
               .out = out});
  }

  // B of the rows that any head of the group writes.
  void ReadB(int64_t group) {
    HeadWrites any;
    any.needed.assign(CountChunks(region_), 0);
    const int64_t first = group * HeadsPerGroup();
    for (int64_t h = first; h < first + HeadsPerGroup(); ++h) {
      for (size_t c = 0; c < any.needed.size(); ++c) any.needed[c] |= heads_[h].needed[c];
    }
    MatOwner<float>& b = context_.ws.far_b;
    if (group == 0) b.Resize(region_.far, config_.n_groups * config_.d_state);
    for (const RowRun& run : any.Runs(region_)) {
      b_rows_ += run.end - run.begin;
      for (int64_t begin = run.begin; begin < run.end; begin += kBlockRows) {
        const RowRun rows{begin, std::min(run.end, begin + kBlockRows)};
        ReadChannels(
            context_.exec, rows, config_.d_inner + group * config_.d_state,
            b.view().Rows(begin, rows.end - begin).Cols(group * config_.d_state, config_.d_state));
      }
    }
  }

  void WriteHead(int64_t h) {
    const HeadWrites& head = heads_[h];
    const int64_t size = config_.d_state * config_.head_dim;
    float* const state = state_.ssm(layer_) + h * size;
    for (int64_t i = 0; i < size; ++i) state[i] *= head.decay;
    MatOwner<float> x;
    for (const RowRun& run : head.Runs(region_)) {
      for (int64_t begin = run.begin; begin < run.end; begin += kBlockRows) {
        const RowRun rows{begin, std::min(run.end, begin + kBlockRows)};
        x.Resize(rows.end - begin, config_.head_dim);
        ReadChannels(alone_, rows, h * config_.head_dim, x.view());
        const int64_t group = h / HeadsPerGroup();
        StateWrite(alone_, {.x = x.view(),
                            .b = context_.ws.far_b.view()
                                     .Rows(begin, x.rows())
                                     .Cols(group * config_.d_state, config_.d_state),
                            .weight = head.weight.data() + begin,
                            .decay = 1,
                            .state = state});
      }
    }
  }

  // The last d_conv − 1 inputs of all channels, from the far rows and, where they are fewer, from
  // the carried state.
  void UpdateConvState() {
    const int64_t taps = config_.d_conv - 1;
    const int64_t fresh = std::min(taps, region_.far);
    const int64_t width = config_.conv_channels();
    float* const conv = ConvState();
    std::copy(conv + fresh * width, conv + taps * width, conv);
    ProjectColumns(context_.exec, normed_.Rows(region_.far - fresh, fresh), config_.d_inner,
                   {conv + (taps - fresh) * width, fresh, width});
  }

  FarWritten Count() const {
    const LayerWork& work = context_.model.facts().layers[layer_];
    FarWritten written;
    written.work =
        work.far * static_cast<double>(region_.far) + work.far_group * static_cast<double>(b_rows_);
    for (const HeadWrites& head : heads_) {
      written.work += work.far_head * static_cast<double>(head.needed_rows);
      written.needed.push_back(head.needed);
    }
    return written;
  }

  const BlockContext& context_;
  const ModelConfig& config_;
  const LayerWeights& weights_;
  const int64_t layer_;
  const FarRegion& region_;
  const Horizon& horizon_;
  SequenceState& state_;
  const MatView<const float> normed_;
  Exec alone_ = context_.exec;  // one thread: heads are shared out
  std::vector<HeadWrites> heads_;
  int64_t b_rows_ = 0;
};

}  // namespace

FarWritten WriteFarMamba2(const BlockContext& context, int64_t layer, const FarRegion& region,
                          const Horizon& horizon, SequenceState& state) {
  return Writer(context, layer, region, horizon, state).Run();
}

}  // namespace pith
