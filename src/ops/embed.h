// Token embedding: a gather of rows.
#ifndef PITH_OPS_EMBED_H_
#define PITH_OPS_EMBED_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"

namespace pith {

// out[i] = table[ids[i]], widened to f32. table [vocab, d], out [ids.size(), d]. Exact.
// Ids must be in range: callers check them against the vocabulary before the model runs.
void Embed(const Exec& exec, const WeightView& table, std::span<const int32_t> ids,
           MatView<float> out);

}  // namespace pith

#endif  // PITH_OPS_EMBED_H_
