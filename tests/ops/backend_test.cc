// What a backend says of its memory: each use by itself and all together, now and at most.
#include "ops/backend.h"

#include <gtest/gtest.h>

#include "ops/backends.h"

namespace pith {
namespace {

class BackendMemory : public ::testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    const bool absent = GetParam() == Device::kCpu && CpuBackend() == nullptr;
    if (absent) GTEST_SKIP() << "this build has no such backend";
  }
};

TEST_P(BackendMemory, IsCountedByUseAndTogether) {
  Backend& backend = BackendOf(GetParam());
  backend.ResetPeaks();
  const MemoryCount before = backend.memory();
  const MemoryCount scratch = backend.memory(MemoryUse::kScratch);
  {
    const DeviceBuffer a = backend.Allocate(1000, MemoryUse::kScratch);
    EXPECT_EQ(backend.memory().bytes, before.bytes + 1000);
  }
  const DeviceBuffer b = backend.Allocate(600, MemoryUse::kStream);
  EXPECT_EQ(backend.memory().bytes, before.bytes + 600);
  // The two never stood beside each other.
  EXPECT_EQ(backend.memory().peak, before.bytes + 1000);
  EXPECT_EQ(backend.memory(MemoryUse::kScratch).bytes, scratch.bytes);
  EXPECT_EQ(backend.memory(MemoryUse::kScratch).peak, scratch.bytes + 1000);
  backend.ResetPeaks();
  EXPECT_EQ(backend.memory().peak, before.bytes + 600);
  EXPECT_EQ(backend.memory(MemoryUse::kScratch).peak, scratch.bytes);
}

INSTANTIATE_TEST_SUITE_P(Devices, BackendMemory,
                         ::testing::Values(Device::kReference, Device::kCpu), [](const auto& info) {
                           return info.param == Device::kCpu ? "Cpu" : "Reference";
                         });

}  // namespace
}  // namespace pith
