// Linear in bf16 with oneDNN, where the processor has bf16 dot products.
//
// Every product is one primitive of a constant shape, run by one thread: kTileRows rows (the last
// tile filled up with zeros) by one block of the output's columns over the whole depth. What a row
// gets then depends on neither the number of rows nor the threads; that it does not depend on its
// place within a tile is tested. Tiles of 32 rows reach 92 % of the rate of tiles of 64.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/linear_bf16.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <omp.h>

#include <dnnl.hpp>
#include <map>

#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

template <class T>
void RoundAll(const T* from, int64_t n, BF16* to) {
  ForVectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const hn::Rebind<hwy::bfloat16_t, decltype(d)> narrow;
    const auto rounded = RoundToBF16(d, LoadWide(d, from + i));
    hn::StoreU(hn::DemoteTo(narrow, rounded), narrow, reinterpret_cast<hwy::bfloat16_t*>(to + i));
  });
}

void RoundMatrix(const StoredMatrix& from, BF16* to) {
  VisitFloat(from.dtype, [&]<class T>() {
    RoundAll(static_cast<const T*>(from.data), from.rows * from.cols, to);
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {
namespace {

HWY_EXPORT(RoundMatrix);

constexpr int64_t kTileRows = 32;
constexpr int64_t kBlockCols = 128;

// oneDNN chooses its blocking by the calling thread's OpenMP limit and starts threads up to it.
class OneThread {
 public:
  OneThread() : limit_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(limit_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int limit_;
};

const dnnl::engine& Engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::memory::desc Describe(dnnl::memory::data_type type, int64_t rows, int64_t cols,
                            const dnnl::memory::dims& strides) {
  return {{rows, cols}, type, strides};
}

// [kTileRows, depth] × [cols, depth]ᵀ → [kTileRows, cols].
class TileProduct {
 public:
  TileProduct(int64_t cols, int64_t depth)
      : stream_(Engine()),
        x_(Make(Describe(kBF16, kTileRows, depth, {depth, 1}))),
        w_(Make(Describe(kBF16, depth, cols, {1, depth}))),
        out_(Make(Describe(kF32, kTileRows, cols, {cols, 1}))),
        product_(MakeProduct(x_.get_desc(), w_.get_desc(), out_.get_desc())) {}

  void Run(const BF16* x, const BF16* w, float* out) {
    x_.set_data_handle(const_cast<BF16*>(x));
    w_.set_data_handle(const_cast<BF16*>(w));
    out_.set_data_handle(out);
    product_.execute(stream_, {{DNNL_ARG_SRC, x_}, {DNNL_ARG_WEIGHTS, w_}, {DNNL_ARG_DST, out_}});
    stream_.wait();
  }

 private:
  static constexpr auto kBF16 = dnnl::memory::data_type::bf16;
  static constexpr auto kF32 = dnnl::memory::data_type::f32;
  static dnnl::memory Make(const dnnl::memory::desc& desc) {
    return dnnl::memory(desc, Engine(), nullptr);
  }

  using Desc = dnnl::memory::desc;
  static dnnl::matmul MakeProduct(const Desc& x, const Desc& w, const Desc& out) {
#if DNNL_VERSION_MAJOR >= 3  // oneDNN 3 dropped operation descriptors
    return dnnl::matmul({Engine(), x, w, out});
#else
    return dnnl::matmul({{x, w, out}, Engine()});
#endif
  }

  dnnl::stream stream_;
  dnnl::memory x_, w_, out_;
  dnnl::matmul product_;
};

// One per thread and shape, of which a model has a dozen: a primitive's scratch is its thread's.
TileProduct& ProductFor(int64_t cols, int64_t depth) {
  thread_local std::map<std::pair<int64_t, int64_t>, TileProduct> products;
  return products.try_emplace({cols, depth}, cols, depth).first->second;
}

struct Task {
  MatView<const BF16> x;  // rounded, rows filled up to whole tiles
  WeightView w;
  const float* bias;  // null: none
  MatView<float> out;
};

void RunBlock(const Task& task, int64_t row_begin, int64_t row_end, int64_t col_begin) {
  const int64_t cols = std::min(kBlockCols, task.w.rows - col_begin);
  const WeightView& w = task.w;
  const StoredMatrix block{
      w.dtype,
      static_cast<const std::byte*>(w.data) + (w.first + col_begin) * w.cols * SizeOf(w.dtype),
      cols, w.cols};
  thread_local BufferOwner<BF16> rounded;
  const BF16* weights = static_cast<const BF16*>(block.data);
  if (w.dtype != DType::kBF16) {  // a head that shares the embedding's exact values
    rounded.Resize(cols * w.cols);
    HWY_DYNAMIC_DISPATCH(RoundMatrix)(block, rounded.data());
    weights = rounded.data();
  }
  alignas(64) float sums[kTileRows * kBlockCols];
  const OneThread one_thread;
  TileProduct& product = ProductFor(cols, w.cols);
  for (int64_t row = row_begin; row < row_end; row += kTileRows) {
    product.Run(task.x.Row(row), weights, sums);
    for (int64_t r = row; r < std::min(row + kTileRows, row_end); ++r) {
      const float* from = sums + (r - row) * cols;
      float* to = task.out.Row(r) + col_begin;
      for (int64_t j = 0; j < cols; ++j) {
        to[j] = task.bias ? from[j] + task.bias[col_begin + j] : from[j];
      }
    }
  }
}

}  // namespace

void RoundToRows(const Exec& exec, const StoredMatrix& from, BF16* to) {
  ParallelFor(exec.threads, from.rows, [&](int64_t r) {
    const auto* row = static_cast<const std::byte*>(from.data) + r * from.cols * SizeOf(from.dtype);
    HWY_DYNAMIC_DISPATCH(RoundMatrix)({from.dtype, row, 1, from.cols}, to + r * from.cols);
  });
}

void LinearBF16(const Exec& exec, MatView<const float> x, const WeightView& w,
                VecView<const float> bias, MatView<float> out) {
  const int threads = ThreadsFor(exec, x.rows * w.rows * w.cols / 64);
  const int64_t row_tiles = CeilDiv(x.rows, kTileRows);
  BufferOwner<BF16> rounded(row_tiles * kTileRows * x.cols);
  const MatView<BF16> x_rounded(rounded.data(), row_tiles * kTileRows, x.cols);
  ParallelFor(threads, row_tiles, [&](int64_t i) {
    for (int64_t r = i * kTileRows; r < (i + 1) * kTileRows; ++r) {
      if (r < x.rows) {
        HWY_DYNAMIC_DISPATCH(RoundMatrix)({DType::kF32, x.Row(r), 1, x.cols}, x_rounded.Row(r));
      } else {
        std::fill_n(x_rounded.Row(r), x.cols, BF16{0});
      }
    }
  });
  const Task task = {x_rounded, w, bias.data, out};
  const int64_t col_blocks = CeilDiv(w.rows, kBlockCols);
  const int64_t row_blocks =
      std::clamp<int64_t>(CeilDiv(4 * threads, col_blocks), 1, CeilDiv(x.rows, 128));
  const int64_t block_rows = CeilDiv(row_tiles, row_blocks) * kTileRows;
  ParallelFor(threads, col_blocks * row_blocks, [&](int64_t i) {
    const int64_t row = i % row_blocks * block_rows;
    RunBlock(task, row, std::min(row + block_rows, x.rows), i / row_blocks * kBlockCols);
  });
}

}  // namespace pith::cpu
#endif
