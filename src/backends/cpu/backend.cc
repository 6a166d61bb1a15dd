// The CPU backend: the host's memory. Matrices of products are packed once, so that products read
// them from first to last and repack nothing.
#include <memory>
#include <utility>

#include "backends/cpu/kernels.h"
#include "backends/cpu/quant_panels.h"
#include "ops/backends.h"
#include "ops/host_backend.h"

namespace pith {
namespace {

class Cpu : public HostBackend {
 public:
  Cpu() { cpu::ChooseSimd(); }
  Device device() const override { return Device::kCpu; }
  const Kernels& kernels() const override { return cpu::Table(); }

  Weight Prepare(const Exec& exec, const StoredMatrix& stored, WeightUse use) override {
    if (use == WeightUse::kTable || stored.rows == 0) return {RowsOf(stored), nullptr};
    if (IsQuantised(stored.dtype)) {
      auto storage = std::make_shared<DeviceBuffer>(
          Allocate(cpu::QuantPanelsBytes(stored, cpu::PanelRows()), MemoryUse::kWeights));
      const WeightView view = cpu::PackQuantPanels(exec, stored, cpu::PanelRows(), storage->data());
      return {view, std::move(storage)};
    }
    const bool bf16 = exec.precision == Precision::kBF16;
    // A head that shares the embedding's exact values is rounded as products read it.
    const bool exact = use == WeightUse::kBoth && stored.dtype != DType::kBF16;
    // One that Embed reads too has no room for what f16 cannot hold.
    const bool f16 = bf16 && use != WeightUse::kBoth && cpu::HasF16Products();
    WeightView view = RowsOf(stored);
    if (bf16 && !exact) view.dtype = f16 ? DType::kF16 : DType::kBF16;
    const bool pairs = f16 || (bf16 && !exact && cpu::HasBF16Products());
    view.format = pairs ? WeightFormat::kPairPanels : WeightFormat::kPanels;
    view.panel = cpu::PanelRows();
    const int64_t rows = cpu::CeilDiv(view.rows, view.panel) * view.panel;
    const int64_t cols = pairs ? cpu::CeilDiv(view.cols, 2) * 2 : view.cols;
    const int64_t bytes = rows * cols * static_cast<int64_t>(SizeOf(view.dtype));
    const int64_t scales = f16 ? rows * static_cast<int64_t>(sizeof(float)) : 0;
    auto storage = std::make_shared<DeviceBuffer>(Allocate(bytes + scales, MemoryUse::kWeights));
    view.data = storage->data();
    if (f16) {
      auto* const behind =
          reinterpret_cast<float*>(static_cast<std::byte*>(storage->data()) + bytes);
      cpu::PackF16Pairs(exec, stored, static_cast<cpu::F16Pair*>(storage->data()), behind);
      view.scales = behind;
    } else if (pairs) {
      cpu::PackPairs(exec, stored, static_cast<cpu::BF16Pair*>(storage->data()));
    } else {
      cpu::PackPanels(exec, stored, view.dtype, storage->data());
    }
    return {view, std::move(storage)};
  }
};

}  // namespace

Backend* CpuBackend() {
  static Cpu backend;
  return &backend;
}

}  // namespace pith
