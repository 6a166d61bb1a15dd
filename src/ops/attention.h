// Causal attention with grouped queries (Ainslie et al. 2023, "GQA") over keys and values that a
// sequence keeps in pages of its backend's memory.
#ifndef PITH_OPS_ATTENTION_H_
#define PITH_OPS_ATTENTION_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

// Rows of keys and values in a page.
inline constexpr int64_t kKvPageRows = 64;

// How the rows of one page lie, in floats from its begin, which is aligned to 16 bytes: their
// positions as int32 [kKvPageRows]; for each head its keys [head_dim, kKvPageRows], transposed, so
// that a vector holds one number of many keys; for each head its values [kKvPageRows, head_dim].
// Behind them is room for a vector's width, which kernels may read and nobody writes.
struct KvPageLayout {
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;

  int64_t width() const { return n_kv_heads * head_dim; }  // of a row of keys, and of values
  int64_t keys(int64_t head) const { return kKvPageRows * (1 + head * head_dim); }
  int64_t values(int64_t head) const { return keys(n_kv_heads + head); }
  // Of a whole page: a multiple of a cache line.
  int64_t floats() const { return keys(2 * n_kv_heads) + kRoom; }

 private:
  static constexpr int64_t kRoom = 32;
};

// The keys and values of one sequence in one layer, in the order in which they were written: row r
// is row r % kKvPageRows of page r / kKvPageRows.
struct KvPages {
  std::span<float* const> pages;  // the list on the host, the pages in the backend's memory
  int64_t rows = 0;               // all of them, those of the segment at hand included
};

struct WriteKvArgs {
  KvPageLayout layout;
  MatView<const float> k;              // [rows, layout.width()], rotated where the model does so
  MatView<const float> v;              // [rows, layout.width()]
  std::span<const int32_t> positions;  // [rows], on the host, not negative
  std::span<const Segment> segments;
  std::span<const KvPages> kv;  // one a segment; its last `count` rows are written
};

// Writes each segment's keys, values and positions behind what its sequence has.
void WriteKv(const Exec& exec, const WriteKvArgs& args);

// Head h of the queries reads head g = h / (n_heads / n_kv_heads) of the keys and values. A query
// at position p sees the rows with p − window < position ≤ p (0: no window), wherever they stand:
//   out = Σ_r softmax_r(scale · q · k_r) v_r  over the rows r that it sees; 0 where it sees none.
struct AttentionArgs {
  KvPageLayout layout;
  int64_t n_heads = 0;  // a multiple of layout.n_kv_heads
  float scale = 1;
  int64_t window = 0;
  MatView<const float> q;              // [rows, n_heads · head_dim]
  std::span<const int32_t> positions;  // [rows], on the host
  std::span<const Segment> segments;
  std::span<const KvPages> kv;  // one a segment, WriteKv of the segment's own rows being done
  // On the host, ascending, each a row of a segment; read where out has fewer rows than q.
  std::span<const int64_t> wanted;
  MatView<float> out;  // [wanted rows, n_heads · head_dim]; must not overlap q
};

// The bits of a row depend on its query and on the rows that it sees, in the order in which they
// were written, each at its place in its page; on neither the batch, nor the rows that are wanted,
// nor on what else is in the pages (which must be finite). So prefill, however it is cut, and
// steps, which are segments of one row, have the same bits.
void Attention(const Exec& exec, const AttentionArgs& args);

}  // namespace pith

#endif  // PITH_OPS_ATTENTION_H_
