// Falcon-H1's mixer: Mamba-2 and attention side by side, behind one norm. Each is the layer of its
// kind; what a policy reads of this one is Mamba-2's.
#include <memory>

#include "core/error.h"
#include "model/layers/kinds.h"
#include "model/layers/mamba.h"
#include "model/layers/work.h"
#include "ops/rows.h"

namespace pith {
namespace {

// The one of Workspace::mixer that neither of the two uses: what attention gave.
constexpr size_t kAttended = kMixerScratch - 1;

}  // namespace

class ParallelLayer : public Layer {
 public:
  ParallelLayer(const ParallelConfig& config, LayerBuilder& build)
      : Layer(build),
        config_(config),
        d_model_(build.config().d_model),
        mamba_(MakeMamba2Layer(config.mamba, build)),
        attention_(MakeAttentionLayer(config.attention, build)) {}

  LayerWork work() const override { return WorkOf(config_, d_model_); }
  StateSize state_size() const override {
    StateSize size = mamba_->state_size();
    size.kv = attention_->state_size().kv;
    return size;
  }
  bool reads_positions() const override { return true; }
  bool repeats_steps() const override { return attention_->repeats_steps(); }

  int64_t width(Source source) const override { return mamba_->width(source); }
  MatView<const float> Read(const Workspace& ws, Source source) const override {
    return mamba_->Read(ws, source);
  }
  ScanShape scan_shape() const override { return mamba_->scan_shape(); }
  ScanFeaturesArgs ReadScan(const Workspace& ws) const override { return mamba_->ReadScan(ws); }
  VecView<const float> a() const override { return mamba_->a(); }

 protected:
  // Mamba-2 last, so that its scratch is what policies find.
  void Mix(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
           const AddNormArgs& norm) const override {
    attention_->Mix(context, rows, states, norm);
    const MatView<float> h = context.ws.h.Rows(0, rows.wanted_rows());
    const MatView<float> attended = Scratch(context, kAttended, h.rows, d_model_);
    ScaleRows(context.exec, h, config_.attention_scale, attended);
    AddNormArgs again = norm;
    if (!norm.sum.empty()) again.x = norm.sum;  // made by now
    again.add = {};
    again.sum = {};
    LayerContext part = context;
    part.whole = part.compact = false;
    mamba_->Mix(part, rows, states, again);
    ScaleRows(context.exec, h, config_.mamba_scale, h);
    AddRows(context.exec, h, attended, h);
  }
  FarWritten WriteNormedFar(const LayerContext& context, MatView<const float> normed,
                            const FarRegion& region, const Horizon& horizon,
                            const FarTarget& to) const override {
    FarWritten written = mamba_->WriteNormedFar(context, normed, region, horizon, to);
    attention_->WriteNormedFar(context, normed, region, horizon, to);
    const LayerWork alone = mamba_->work();
    written.work += (work().far - alone.far) * static_cast<double>(region.far);
    return written;
  }

 private:
  const ParallelConfig config_;
  const int64_t d_model_;
  const std::unique_ptr<Layer> mamba_;
  const std::unique_ptr<Layer> attention_;
};

std::unique_ptr<Layer> MakeParallelLayer(const ParallelConfig& config, LayerBuilder& build) {
  return std::make_unique<ParallelLayer>(config, build);
}

}  // namespace pith
