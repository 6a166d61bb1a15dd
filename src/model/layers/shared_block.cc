// Zamba2's layer of attention: a block that several layers share reads the residual branch x beside
// the embedding e of each row's token, and what it gives goes with x into Mamba-2:
//   t = linear · MLP(norm(attention(norm([x, e])))),   h = Mamba-2(norm(x + t)),   x ← x + h.
// The block is one object for all of its layers; a layer has its own adapters, `linear` and
// Mamba-2. e is read from the embedding again, by the token at a row's position, whatever merged
// into the row since (docs/design/0012-the-embedding-is-read-again.md).
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "core/error.h"
#include "model/layers/kinds.h"
#include "model/layers/mamba.h"
#include "model/layers/work.h"
#include "ops/embed.h"
#include "ops/norm.h"
#include "ops/rows.h"

namespace pith {
namespace {

// In Workspace::mixer, behind attention's and the MLP's; Mamba-2 leaves the last one alone.
enum SharedBlockScratch : size_t {
  kBoth = 5,    // [rows, 2 d_model] x and e
  kBothNormed,  // [rows, 2 d_model]
  kSum,         // [rows, d_model] x + t
  kHidden = 0,  // the MLP's, when attention is done
  kUp,
};
static_assert(kSum == kMixerScratch - 1);

// What all layers of a block have in common.
struct SharedBlock {
  SharedBlock(LayerBuilder& build, const SharedBlockConfig& config)
      : norm(build.KeyVector("mixer.shared.norm.weight", {2 * build.config().d_model})),
        mlp_norm(build.KeyVector("mixer.shared.mlp_norm.weight", {build.config().d_model})),
        attention(std::make_shared<const AttentionWeights>(build, "mixer.shared.", config.attention,
                                                           2 * build.config().d_model)),
        mlp(build, "mixer.shared.", config.mlp) {}

  DeviceVector norm;      // [2 d_model]
  DeviceVector mlp_norm;  // [d_model]
  std::shared_ptr<const AttentionWeights> attention;
  MlpWeights mlp;
};

std::vector<Adapter> AttentionAdapters(const SharedBlockConfig& config, LayerBuilder& build) {
  std::vector<Adapter> adapters;
  if (!config.attention_adapters) return adapters;
  const int64_t rank = config.adapter_rank, in = 2 * build.config().d_model;
  const auto add = [&](std::string_view of, int64_t out) {
    const std::string name = StrCat("mixer.adapters.", of);
    adapters.push_back({.down = build.Matrix(name + ".0.weight", rank, in),
                        .up = build.Matrix(name + ".1.weight", out, rank)});
  };
  add("q", config.attention.q_width());
  add("k", config.attention.kv_width());
  add("v", config.attention.kv_width());
  return adapters;
}

// One matrix comes down for both.
MlpAdapters MakeMlpAdapters(const SharedBlockConfig& config, LayerBuilder& build) {
  const int64_t rank = config.adapter_rank, hidden = config.mlp.d_hidden;
  const Weight down = build.Matrix("mixer.adapters.gate_up.0.weight", rank, build.config().d_model);
  return {.gate = {down, build.Matrix("mixer.adapters.gate.1.weight", hidden, rank)},
          .up = {down, build.Matrix("mixer.adapters.up.1.weight", hidden, rank)}};
}

}  // namespace

class SharedBlockLayer : public Layer {
 public:
  SharedBlockLayer(const SharedBlockConfig& config, LayerBuilder& build)
      : Layer(build),
        config_(config),
        d_model_(build.config().d_model),
        eps_(build.config().norm_eps),
        embedding_(build.embedding()),
        block_(build.Shared<SharedBlock>(
            StrCat("shared block ", config.block),
            [&] { return std::make_shared<const SharedBlock>(build, config); })),
        attention_(MakeSharedAttention(
            config.attention,
            {.weights = block_->attention, .adapters = AttentionAdapters(config, build)}, build)),
        adapters_(MakeMlpAdapters(config, build)),
        linear_(build.Matrix("mixer.linear.weight", d_model_, d_model_)),
        mamba_(MakeMamba2Layer(config.mamba, build)) {
    // Neither family of files has both; e would have to be scaled as x was.
    PITH_CHECK(build.config().EmbeddingFactor() == 1);
  }

  LayerWork work() const override { return WorkOf(config_, d_model_); }
  StateSize state_size() const override {
    StateSize size = mamba_->state_size();
    size.kv = attention_->state_size().kv;
    return size;
  }
  bool reads_positions() const override { return true; }
  bool reads_ids() const override { return true; }
  bool repeats_steps() const override { return attention_->repeats_steps(); }

  // Policies read Mamba-2's.
  int64_t width(Source source) const override { return mamba_->width(source); }
  MatView<const float> Read(const Workspace& ws, Source source) const override {
    return mamba_->Read(ws, source);
  }
  ScanShape scan_shape() const override { return mamba_->scan_shape(); }
  ScanFeaturesArgs ReadScan(const Workspace& ws) const override { return mamba_->ReadScan(ws); }
  VecView<const float> a() const override { return mamba_->a(); }

  // Far rows pass the block: what they write into Mamba-2 depends on what it gives for them.
  FarWritten WriteFar(const LayerContext& context, MatView<const float> stream,
                      const FarRegion& region, const Horizon& horizon,
                      const FarTarget& to) const override {
    PITH_CHECK(stream.rows == region.far && region.far > 0);
    PITH_CHECK(std::ssize(to.ids) == region.far);
    DeviceMat<float>& normed = context.ws.far_normed;
    normed.Resize(context.exec, stream.rows, d_model_);
    for (int64_t begin = 0; begin < stream.rows; begin += context.chunk_rows) {
      const int64_t n = std::min(context.chunk_rows, stream.rows - begin);
      LayerRows rows{.rows = n, .segments = {{0, n}}, .slots = {to.slot}};
      const auto ids = to.ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(n));
      rows.ids.assign(ids.begin(), ids.end());
      for (int64_t r = 0; r < n; ++r) {
        rows.positions.push_back(static_cast<int32_t>(to.first_position + begin + r));
      }
      context.ws.Reserve(context.exec, d_model_, n);
      const MatView<float> out = normed.view().Rows(begin, n);
      AddBlock(context, rows, to.states, stream.Rows(begin, n), out);
      norm().Apply(context.exec, out, out);
    }
    return WriteNormedFar(context, normed.view(), region, horizon, to);
  }

 protected:
  void Mix(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
           const AddNormArgs& norm) const override {
    MatView<const float> x = norm.x;
    if (!norm.add.empty()) {
      AddRows(context.exec, norm.x, norm.add, norm.sum);
      x = norm.sum;
    }
    const MatView<float> sum = Scratch(context, kSum, rows.rows, d_model_);
    AddBlock(context, rows, states, x, sum);
    AddNormArgs again = norm;
    again.x = sum;
    again.add = {};
    again.sum = {};
    again.squares = {};
    mamba_->Mix(context, rows, states, again);
  }
  // normed: of x + t.
  FarWritten WriteNormedFar(const LayerContext& context, MatView<const float> normed,
                            const FarRegion& region, const Horizon& horizon,
                            const FarTarget& to) const override {
    FarWritten written = mamba_->WriteNormedFar(context, normed, region, horizon, to);
    const LayerWork alone = mamba_->work();
    written.work += (work().far - alone.far) * static_cast<double>(region.far);
    return written;
  }

 private:
  // out ← x + t, of all rows: Mamba-2's state needs those too whose output nobody wants.
  void AddBlock(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
                MatView<const float> x, MatView<float> out) const {
    PITH_CHECK(std::ssize(rows.ids) == rows.rows);
    const Exec& exec = context.exec;
    LayerRows& all = context.ws.all_rows;
    all = rows;
    all.wanted = nullptr;
    const LayerContext inner{.exec = exec,
                             .mode = context.mode,
                             .ssd_chunk = context.ssd_chunk,
                             .chunk_rows = context.chunk_rows,
                             .ws = context.ws};
    const MatView<float> both = Scratch(context, kBoth, rows.rows, 2 * d_model_);
    CopyRows(exec, x, both.Cols(0, d_model_));
    Embed(exec, embedding_.view(), rows.ids, both.Cols(d_model_, d_model_));
    attention_->Mix(inner, all, states,
                    {.x = both,
                     .add = {},
                     .sum = {},
                     .squares = {},
                     .weight = block_->norm.view(),
                     .bias = {},
                     .eps = eps_,
                     .out = Scratch(context, kBothNormed, rows.rows, 2 * d_model_)});
    const MatView<float> h = context.ws.h.Rows(0, rows.rows);
    const MatView<float> given = context.ws.normed.Rows(0, rows.rows);
    AddNorm(exec, {.x = h,
                   .add = {},
                   .sum = {},
                   .weight = block_->mlp_norm.view(),
                   .bias = {},
                   .eps = eps_,
                   .out = h});
    block_->mlp.Apply(inner, h, kHidden, kUp, given, &adapters_);
    Project(inner, given, linear_.view(), {}, h);
    AddRows(exec, x, h, out);
  }

  const SharedBlockConfig config_;
  const int64_t d_model_;
  const float eps_;
  const Weight embedding_;  // [vocab_size, d_model]
  const std::shared_ptr<const SharedBlock> block_;
  const std::unique_ptr<Layer> attention_;
  const MlpAdapters adapters_;
  const Weight linear_;  // [d_model, d_model]
  const std::unique_ptr<Layer> mamba_;
};

std::unique_ptr<Layer> MakeSharedBlockLayer(const SharedBlockConfig& config, LayerBuilder& build) {
  return std::make_unique<SharedBlockLayer>(config, build);
}

}  // namespace pith
