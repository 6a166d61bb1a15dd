// Which of the SIMD levels that kernels are compiled for they run at.
#include <hwy/highway.h>

#include <cstdlib>
#include <string_view>

#include "backends/cpu/kernels.h"
#include "core/error.h"
#include "core/printable.h"

namespace pith::cpu {
namespace {

struct Level {
  std::string name;
  int64_t target;
};

// Highway's names in small letters, but for AVX-512, which it calls AVX3.
std::string NameOf(int64_t target) {
  if (target == HWY_AVX3) return "avx512";
  if (target == HWY_AVX3_DL) return "avx512_dl";
  std::string name = hwy::TargetName(target);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

std::vector<Level> Levels() {
  std::vector<Level> levels;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    levels.push_back({NameOf(target), target});
  }
  return levels;
}

}  // namespace

std::vector<std::string> SimdLevels() {
  std::vector<std::string> names;
  for (const Level& level : Levels()) names.push_back(level.name);
  return names;
}

void ChooseSimd() {
  const char* const wanted = std::getenv("PITH_SIMD");
  if (wanted == nullptr) return;
  std::string expected;
  for (const Level& level : Levels()) {
    if (level.name == wanted) {
      // Named for tests, this is how Highway is told: the processor then seems to have no other.
      hwy::SetSupportedTargetsForTest(level.target);
      return;
    }
    expected += (expected.empty() ? "" : ", ") + level.name;
  }
  Throw(ErrorCode::kInvalidArgument, "PITH_SIMD: got '", Printable(wanted), "', expected one of ",
        expected, ", which this build and processor have");
}

}  // namespace pith::cpu
