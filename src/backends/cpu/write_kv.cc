// WriteKv: bound by memory. A task is a piece of a segment that lies in one page.
#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels.h"
#include "core/parallel.h"

namespace pith::cpu {
namespace {

// Rows from `from` on → the `count` rows from `to` on in a page.
void WritePage(const WriteKvArgs& args, int64_t from, int64_t to, int64_t count, float* page) {
  const int64_t head_dim = args.layout.head_dim;
  std::memcpy(page + to, args.positions.data() + from, count * sizeof(int32_t));
  for (int64_t h = 0; h < args.layout.n_kv_heads; ++h) {
    float* const keys = page + args.layout.keys(h) + to;
    float* const values = page + args.layout.values(h) + to * head_dim;
    for (int64_t r = 0; r < count; ++r) {
      const float* const k = args.k.Row(from + r) + h * head_dim;
      for (int64_t i = 0; i < head_dim; ++i) keys[i * kKvPageRows + r] = k[i];
      std::memcpy(values + r * head_dim, args.v.Row(from + r) + h * head_dim,
                  head_dim * sizeof(float));
    }
  }
}

void WriteSegment(const Exec& exec, const WriteKvArgs& args, Segment segment, const KvPages& kv) {
  const int64_t begin = kv.rows - segment.count;
  const int64_t first = begin / kKvPageRows;
  ParallelFor(ThreadsFor(exec, segment.count * args.layout.width()),
              CeilDiv(kv.rows, kKvPageRows) - first, [&](int64_t i) {
                const int64_t page = first + i;
                const int64_t from = std::max(begin, page * kKvPageRows);
                const int64_t end = std::min(kv.rows, (page + 1) * kKvPageRows);
                WritePage(args, segment.begin + from - begin, from - page * kKvPageRows, end - from,
                          kv.pages[page]);
              });
}

}  // namespace

void WriteKv(const Exec& exec, const WriteKvArgs& args) {
  for (size_t s = 0; s < args.segments.size(); ++s) {
    if (args.segments[s].count > 0) WriteSegment(exec, args, args.segments[s], args.kv[s]);
  }
}

}  // namespace pith::cpu
