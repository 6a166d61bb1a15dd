// Rotary position embedding (Su et al. 2021, "RoFormer").
#ifndef PITH_OPS_ROPE_H_
#define PITH_OPS_ROPE_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

// Which numbers of a head turn together, i counting pairs up to rotated / 2.
enum class RopePairing : uint8_t {
  kHalf,         // i and i + rotated / 2: Hugging Face's Llama
  kInterleaved,  // 2 i and 2 i + 1: the paper's
};

struct RopeArgs {
  int64_t n_heads = 0;  // heads that lie side by side: those of q and k too, where they do
  int64_t head_dim = 0;
  RopePairing pairing = RopePairing::kHalf;
  std::span<const int32_t> positions;  // [rows], on the host, not negative
  // [rotated / 2], on the host, finite: radians a position. The rest of a head, if there is one,
  // stays as it is.
  std::span<const double> frequencies;
  float factor = 1;  // what a scaling of long contexts multiplies cosines and sines by
  MatView<float> x;  // [rows, n_heads · head_dim], in place
};

// Turns each pair (a, b) of row r by the angle φ = positions[r] · frequencies[i]:
//   (a, b) ← factor · (a cos φ − b sin φ, b cos φ + a sin φ)
// The angle is not rounded to f32: at position 131,071 its cosine is as exact as at 1.
void Rope(const Exec& exec, const RopeArgs& args);

}  // namespace pith

#endif  // PITH_OPS_ROPE_H_
