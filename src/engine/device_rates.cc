#include "engine/device_rates.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "load/drawn_tensors.h"
#include "load/quantised_tensors.h"
#include "ops/backend.h"
#include "ops/linear.h"

namespace pith {
namespace {

constexpr int kRounds = 5;
constexpr double kRoundSeconds = 0.02;  // at least, so that the clock and the queue cost nothing
constexpr int kMostCalls = 1000;

double Seconds(const Exec& exec, int calls, const std::function<void()>& call) {
  exec.backend->Synchronize(exec.queue);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) call();
  exec.backend->Synchronize(exec.queue);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
}

// The shortest time of a call. Devices that run on after a call are kept busy for a whole round.
double Shortest(const Exec& exec, const std::atomic<bool>* cancel,
                const std::function<void()>& call) {
  const double first = std::max(1e-9, Seconds(exec, 1, call));
  const auto calls = static_cast<int>(
      std::clamp(std::ceil(kRoundSeconds / first), 1.0, static_cast<double>(kMostCalls)));
  double shortest = first;
  for (int round = 0; round < kRounds; ++round) {
    Require(cancel == nullptr || !cancel->load(), ErrorCode::kCancelled, "cancelled");
    shortest = std::min(shortest, Seconds(exec, calls, call));
  }
  return shortest;
}

class Products {
 public:
  Products(const Exec& exec, DType weights, int64_t size) : exec_(exec), size_(size) {
    const bool quantised =
        IsQuantised(weights);  // in 8 bits, as heads are, whatever the layers are
    DrawnTensors drawn(quantised ? DType::kBF16 : weights, exec.threads);
    QuantisedTensors tensors(drawn, quantised ? WeightsAs::kInt8 : WeightsAs::kStored, true,
                             exec.threads);
    DrawnTensors rows(DType::kF32, exec.threads);
    storage_ = tensors.storage();
    weight_ = exec.backend->Prepare(exec, tensors.Matrix("lm_head.weight", size, size),
                                    WeightUse::kProduct);
    x_.Resize(exec, size, size);
    out_.Resize(exec, size, size);
    const StoredMatrix x = rows.Matrix("x", size, size);
    exec.backend->Upload(exec.queue, x.data, x_.view().data, x.bytes());
  }
  void Run() { Linear(exec_, x_.view(), weight_.view(), {}, out_.view()); }
  double flop() const { return 2.0 * std::pow(static_cast<double>(size_), 3); }

 private:
  const Exec& exec_;
  const int64_t size_;
  std::shared_ptr<const void> storage_;
  Weight weight_;
  DeviceMat<float> x_;
  DeviceMat<float> out_;
};

void MeasureProducts(const Exec& exec, DType weights, const std::atomic<bool>* cancel,
                     DeviceRates& rates) {
  constexpr int64_t kSmallest = 256;
  constexpr int64_t kLargest = 8192;
  for (int64_t size = kSmallest;; size *= 2) {
    Products products(exec, weights, size);
    products.Run();
    const double once = Seconds(exec, 1, [&] { products.Run(); });
    if (once < kRoundSeconds / 2 && size < kLargest) continue;
    const double seconds = Shortest(exec, cancel, [&] { products.Run(); });
    rates.product_size = size;
    rates.gflop_per_second = 1e-9 * products.flop() / seconds;
    return;
  }
}

// Shared out as operators share out theirs: one thread alone may not reach the memory's rate.
void MeasureCopies(const Exec& exec, const std::atomic<bool>* cancel, DeviceRates& rates) {
  constexpr int64_t kBytes = int64_t{256} << 20;
  constexpr int64_t kPiece = int64_t{16} << 20;
  const DeviceBuffer from = exec.backend->Allocate(kBytes, MemoryUse::kScratch);
  const DeviceBuffer to = exec.backend->Allocate(kBytes, MemoryUse::kScratch);
  exec.backend->Clear(exec.queue, from.data(), kBytes);
  exec.backend->Clear(exec.queue, to.data(), kBytes);
  const double seconds = Shortest(exec, cancel, [&] {
    ParallelFor(exec.threads, kBytes / kPiece, [&](int64_t p) {
      exec.backend->Copy(exec.queue, static_cast<const std::byte*>(from.data()) + p * kPiece,
                         static_cast<std::byte*>(to.data()) + p * kPiece, kPiece);
    });
  });
  rates.copy_bytes = kBytes;
  rates.gb_per_second = 2e-9 * static_cast<double>(kBytes) / seconds;
}

}  // namespace

DeviceRates MeasureRates(const Exec& exec, DType weights, const std::atomic<bool>* cancel) {
  DeviceRates rates;
  MeasureProducts(exec, weights == DType::kF16 ? DType::kF32 : weights, cancel, rates);
  MeasureCopies(exec, cancel, rates);
  return rates;
}

}  // namespace pith
