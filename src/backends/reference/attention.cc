#include <algorithm>
#include <limits>
#include <vector>

#include "backends/reference/kernels.h"

namespace pith::reference {
namespace {

struct Page {
  float* data;
  const KvPageLayout& layout;

  int32_t* positions() const { return reinterpret_cast<int32_t*>(data); }
  float& Key(int64_t head, int64_t i, int64_t row) const {
    return data[layout.keys(head) + i * kKvPageRows + row];
  }
  float& Value(int64_t head, int64_t row, int64_t i) const {
    return data[layout.values(head) + row * layout.head_dim + i];
  }
};

bool Sees(int64_t position, int64_t other, int64_t window) {
  return other <= position && (window == 0 || other > position - window);
}

// One head of one query.
void Attend(const AttentionArgs& args, const KvPages& kv, int64_t position, int64_t head,
            const float* q, float* out) {
  const int64_t kv_head = head / (args.n_heads / args.layout.n_kv_heads);
  const auto page = [&](int64_t r) { return Page{kv.pages[r / kKvPageRows], args.layout}; };
  std::vector<double> scores(kv.rows, -std::numeric_limits<double>::infinity());
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t r = 0; r < kv.rows; ++r) {
    if (!Sees(position, page(r).positions()[r % kKvPageRows], args.window)) continue;
    double dot = 0;
    for (int64_t i = 0; i < args.layout.head_dim; ++i) {
      dot += static_cast<double>(q[i]) * page(r).Key(kv_head, i, r % kKvPageRows);
    }
    scores[r] = dot * args.scale;
    largest = std::max(largest, scores[r]);
  }
  std::vector<double> sums(args.layout.head_dim, 0.0);
  double total = 0;
  for (int64_t r = 0; r < kv.rows; ++r) {
    if (scores[r] == -std::numeric_limits<double>::infinity()) continue;
    const double weight = std::exp(scores[r] - largest);
    total += weight;
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i] += weight * page(r).Value(kv_head, r % kKvPageRows, static_cast<int64_t>(i));
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    out[i] = static_cast<float>(total == 0 ? 0 : sums[i] / total);
  }
}

}  // namespace

void WriteKv(const Exec&, const WriteKvArgs& args) {
  const int64_t head_dim = args.layout.head_dim;
  for (size_t s = 0; s < args.segments.size(); ++s) {
    const Segment segment = args.segments[s];
    for (int64_t t = 0; t < segment.count; ++t) {
      const int64_t from = segment.begin + t;
      const int64_t to = args.kv[s].rows - segment.count + t;
      const Page page = {args.kv[s].pages[to / kKvPageRows], args.layout};
      page.positions()[to % kKvPageRows] = args.positions[from];
      for (int64_t c = 0; c < args.layout.width(); ++c) {
        page.Key(c / head_dim, c % head_dim, to % kKvPageRows) = args.k.Row(from)[c];
        page.Value(c / head_dim, to % kKvPageRows, c % head_dim) = args.v.Row(from)[c];
      }
    }
  }
}

void Attention(const Exec&, const AttentionArgs& args) {
  const bool all = args.out.rows == args.q.rows;
  for (int64_t i = 0; i < args.out.rows; ++i) {
    const int64_t row = all ? i : args.wanted[i];
    for (size_t s = 0; s < args.segments.size(); ++s) {
      const Segment segment = args.segments[s];
      if (row < segment.begin || row >= segment.begin + segment.count) continue;
      for (int64_t h = 0; h < args.n_heads; ++h) {
        Attend(args, args.kv[s], args.positions[row], h, args.q.Row(row) + h * args.layout.head_dim,
               args.out.Row(i) + h * args.layout.head_dim);
      }
    }
  }
}

}  // namespace pith::reference
