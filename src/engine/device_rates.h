// What a device does where nothing is in its way: the bounds that a model's speed is held against.
#ifndef PITH_ENGINE_DEVICE_RATES_H_
#define PITH_ENGINE_DEVICE_RATES_H_

#include <atomic>

#include "core/dtype.h"
#include "core/exec.h"
#include "pith/bench.h"

namespace pith {

// The best of some rounds: square products of `weights`' dtype, as large as the device needs to be
// busy for a few milliseconds, and copies that no cache holds. Takes about a second and 512 MiB.
// Throws kCancelled.
DeviceRates MeasureRates(const Exec& exec, DType weights, const std::atomic<bool>* cancel);

}  // namespace pith

#endif  // PITH_ENGINE_DEVICE_RATES_H_
