#include "tests/device.h"

#include <cstdlib>
#include <optional>
#include <utility>

#include "core/error.h"
#include "ops/backend.h"
#include "ops/backends.h"

namespace pith::testing {
namespace {

constexpr std::pair<std::string_view, Device> kDevices[] = {
    {"cpu", Device::kCpu}, {"reference", Device::kReference}, {"cuda", Device::kCuda}};

std::optional<Device> chosen;

Device Named(std::string_view name) {
  if (name.empty()) return CpuBackend() != nullptr ? Device::kCpu : Device::kReference;
  for (const auto& [known, device] : kDevices) {
    if (name == known) return device;
  }
  Throw(ErrorCode::kInvalidArgument, "device: got '", name,
        "', expected one of cpu, reference, cuda");
}

}  // namespace

Device DeviceUnderTest() {
  PITH_CHECK(chosen.has_value());
  return *chosen;
}

std::string DeviceName(Device device) {
  for (const auto& [name, known] : kDevices) {
    if (known == device) return std::string(name);
  }
  return "";
}

std::vector<Device> ReferenceAndTested() {
  std::vector<Device> devices = {Device::kReference};
  if (DeviceUnderTest() != Device::kReference) devices.push_back(DeviceUnderTest());
  return devices;
}

void ChooseDevice(std::string_view name) {
  PITH_CHECK(!chosen.has_value());
  const Device device = Named(name);
  // Tests read on the host what an operator left, without asking it to be done.
  if (device == Device::kCuda) setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
  BackendOf(device);
  chosen = device;
}

}  // namespace pith::testing
