// Which of the SIMD levels that kernels are compiled for they run at.
#include <hwy/highway.h>

#if HWY_ARCH_X86
#include <cpuid.h>
#endif

#include <cstdlib>
#include <string_view>

#include "backends/cpu/kernels.h"
#include "core/error.h"
#include "core/printable.h"

namespace pith::cpu {
namespace {

// Products that AVX-512 got later, and which Highway's target does not count in: of four bytes; and
// those together with products of f16, or of two bf16.
enum class Products : uint8_t { kNone, kBytes, kF16, kBF16 };

struct Level {
  std::string name;
  int64_t target;
  Products products = Products::kNone;
};

// Highway's names in small letters, but for AVX-512, which it calls AVX3.
std::string NameOf(int64_t target) {
  if (target == HWY_AVX3) return "avx512";
  std::string name = hwy::TargetName(target);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

#if HWY_ARCH_X86
// Intel's processors multiply pairs of bf16 more slowly than floats: in registers a core of Emerald
// Rapids reaches 86 GFLOP/s with such products, and 176 with floats (AMX is what these processors
// mean for bf16). AMD's reach twice the rate of floats, as Intel's do with f16.
bool BF16ProductsAreFast() { return __builtin_cpu_is("intel") == 0; }

// AVX-512 FP16, by the processor's own word, since compilers before clang 18 have no name for it.
// That the system keeps such registers is asked with AVX-512 VNNI.
bool ProcessorHasF16Products() {
  constexpr unsigned kLeaf = 7, kBit = 23;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(kLeaf, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx >> kBit & 1U) != 0;
}
#endif

// Asked once, before any level is chosen: Highway then forgets the others.
const std::vector<Level>& Levels() {
  static const std::vector<Level> levels = [] {
    std::vector<Level> all;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
#if HWY_ARCH_X86
      const bool bytes = __builtin_cpu_supports("avx512vnni");
      // Later versions of Highway put targets of their own before AVX-512's first one.
      if (target <= HWY_AVX3 && bytes && all.empty()) {
        all.push_back({"avx512_vnni", target, Products::kBytes});
        if (ProcessorHasF16Products()) {
          all.insert(all.begin(), {"avx512_fp16", target, Products::kF16});
        }
        if (__builtin_cpu_supports("avx512bf16")) {
          all.insert(BF16ProductsAreFast() ? all.begin() : all.end(),
                     {"avx512_bf16", target, Products::kBF16});
        }
      }
#endif
      all.push_back({NameOf(target), target});
    }
    return all;
  }();
  return levels;
}

Products& ProductsInUse() {
  static Products products = Levels().front().products;
  return products;
}

}  // namespace

std::vector<std::string> SimdLevels() {
  std::vector<std::string> names;
  for (const Level& level : Levels()) names.push_back(level.name);
  return names;
}

bool HasByteProducts() { return ProductsInUse() >= Products::kBytes; }
bool HasF16Products() { return ProductsInUse() == Products::kF16; }
bool HasBF16Products() { return ProductsInUse() == Products::kBF16; }

void UseSimd(std::string_view name) {
  std::string expected;
  for (const Level& level : Levels()) {
    if (level.name == name) {
      // Named for tests, this is how Highway is told: the processor then seems to have no other.
      hwy::SetSupportedTargetsForTest(level.target);
      hwy::GetChosenTarget().Update(level.target);
      ProductsInUse() = level.products;
      return;
    }
    expected += (expected.empty() ? "" : ", ") + level.name;
  }
  Throw(ErrorCode::kInvalidArgument, "PITH_SIMD: got '", Printable(name), "', expected one of ",
        expected, ", which this build and processor have");
}

void ChooseSimd() {
  if (const char* const wanted = std::getenv("PITH_SIMD")) UseSimd(wanted);
}

}  // namespace pith::cpu
