#include "ops/embed.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void Embed(const Exec& exec, const WeightView& table, std::span<const int32_t> ids,
           MatView<float> out) {
  CheckMatrix(out, static_cast<int64_t>(ids.size()), table.cols);
  PITH_CHECK(out.empty() || table.data != nullptr);
  for (const int32_t id : ids) PITH_CHECK(id >= 0 && id < table.rows);
  if (out.empty()) return;
  KernelsFor(exec).embed(exec, table, ids, out);
}

}  // namespace pith
