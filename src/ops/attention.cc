#include "ops/attention.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {
namespace {

void CheckKv(const KvPageLayout& layout, std::span<const int32_t> positions,
             std::span<const Segment> segments, std::span<const KvPages> kv, int64_t rows) {
  PITH_CHECK(layout.n_kv_heads > 0 && layout.head_dim > 0);
  PITH_CHECK(static_cast<int64_t>(positions.size()) == rows && kv.size() == segments.size());
  for (size_t s = 0; s < segments.size(); ++s) {
    const Segment segment = segments[s];
    PITH_CHECK(segment.begin >= 0 && segment.count >= 0 && segment.begin + segment.count <= rows);
    PITH_CHECK(kv[s].rows >= segment.count);
    PITH_CHECK(static_cast<int64_t>(kv[s].pages.size()) * kKvPageRows >= kv[s].rows);
    for (int64_t r = segment.begin; r < segment.begin + segment.count; ++r) {
      PITH_CHECK(positions[r] >= 0);
    }
  }
}

}  // namespace

void WriteKv(const Exec& exec, const WriteKvArgs& args) {
  CheckMatrix(args.k, args.k.rows, args.layout.width());
  CheckMatrix(args.v, args.k.rows, args.layout.width());
  CheckKv(args.layout, args.positions, args.segments, args.kv, args.k.rows);
  if (args.k.empty()) return;
  KernelsFor(exec).write_kv(exec, args);
}

void Attention(const Exec& exec, const AttentionArgs& args) {
  CheckKv(args.layout, args.positions, args.segments, args.kv, args.q.rows);
  PITH_CHECK(args.n_heads > 0 && args.n_heads % args.layout.n_kv_heads == 0 && args.window >= 0);
  const int64_t width = args.n_heads * args.layout.head_dim;
  CheckMatrix(args.q, args.q.rows, width);
  CheckMatrix(args.out, args.out.rows, width);
  if (args.out.rows != args.q.rows) {
    PITH_CHECK(static_cast<int64_t>(args.wanted.size()) == args.out.rows);
    int64_t previous = -1;
    for (const int64_t row : args.wanted) {
      PITH_CHECK(row > previous && row < args.q.rows);
      previous = row;
    }
  }
  if (args.out.empty()) return;
  KernelsFor(exec).attention(exec, args);
}

}  // namespace pith
