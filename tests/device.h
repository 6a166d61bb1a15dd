// The device under test: the backend that a test program's command line chose (tests/main.cc).
#ifndef PITH_TESTS_DEVICE_H_
#define PITH_TESTS_DEVICE_H_

#include <string>
#include <string_view>
#include <vector>

#include "core/exec.h"

namespace pith::testing {

// A bug before main has chosen: tests begin after that.
Device DeviceUnderTest();
// As EngineOptions::device and --device call it.
std::string DeviceName(Device device = DeviceUnderTest());
// The reference, then the device under test where that is another one.
std::vector<Device> ReferenceAndTested();

// "cpu", "reference" or "cuda"; empty for cpu where the build has it, else reference. Throws
// pith::Error for anything else, and for what this build or this machine lacks. For cuda, every
// launch from then on is done when the call that made it returns. Called once, before anything
// touches CUDA.
void ChooseDevice(std::string_view name);

}  // namespace pith::testing

#endif  // PITH_TESTS_DEVICE_H_
