// Runs the tests of a program on one device: --device cpu|reference|cuda, by default cpu where the
// build has it. Everything else on the command line is GoogleTest's.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "pith/error.h"
#include "tests/device.h"

namespace {

constexpr int kExitUsage = 2;

// What testing::TempDir() names while the tests run. A program runs several times at once, at
// several SIMD levels, so each process has a directory of its own.
class OwnTempDir {
 public:
  OwnTempDir()
      : path_(::testing::TempDir() + "pith_test.XXXXXX"), made_(mkdtemp(path_.data()) != nullptr) {
    if (made_) setenv("TEST_TMPDIR", path_.c_str(), 1);
  }
  ~OwnTempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  OwnTempDir(const OwnTempDir&) = delete;
  OwnTempDir& operator=(const OwnTempDir&) = delete;
  const std::string& path() const { return path_; }
  bool made() const { return made_; }

 private:
  std::string path_;
  bool made_;
};

int Refuse(std::string_view what) {
  std::cerr << "error: " << what << "\n";
  return kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::string_view kFlag = "--device";
  std::string_view device;
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == kFlag) {
      if (++i == argc) return Refuse("--device: expected cpu, reference or cuda after it");
      device = argv[i];
    } else if (word.starts_with("--device=")) {
      device = word.substr(kFlag.size() + 1);
    } else {
      rest.push_back(argv[i]);
      continue;
    }
    if (device.empty()) return Refuse("--device: got '', expected cpu, reference or cuda");
  }
  try {
    pith::testing::ChooseDevice(device);  // before tests' parameters are made
  } catch (const pith::Error& error) {
    return Refuse(error.what());
  }
  int count = static_cast<int>(rest.size());
  rest.push_back(nullptr);
  ::testing::InitGoogleTest(&count, rest.data());
  const std::string left = count > 1 ? rest[1] : "";
  if (!left.empty() && left != "--help" && !left.starts_with("--gtest_")) {
    return Refuse("got '" + left + "', expected --device or GoogleTest's options");
  }
  const OwnTempDir temp_dir;
  if (!temp_dir.made()) return Refuse("cannot make the directory " + temp_dir.path());
  return RUN_ALL_TESTS();
}
