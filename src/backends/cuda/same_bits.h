// Whether two products give the same bits, by trying.
#ifndef PITH_BACKENDS_CUDA_SAME_BITS_H_
#define PITH_BACKENDS_CUDA_SAME_BITS_H_

#include <cstdint>

#include "core/dtype.h"
#include "core/exec.h"

namespace pith::cuda {

// values[i] in (−1, 1), spread evenly and always the same; 16 bits each, of `type`.
void FillWithNoise(const Exec& exec, DType type, uint16_t* values, int64_t count);

// Waits for what was launched. Both 4-byte aligned, `bytes` a multiple of 4.
bool AreEqual(const Exec& exec, const void* a, const void* b, int64_t bytes);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_SAME_BITS_H_
