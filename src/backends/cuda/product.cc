#include "backends/cuda/product.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "backends/cuda/gpu.h"
#include "backends/cuda/kernels.h"
#include "backends/cuda/same_bits.h"

namespace pith::cuda {
namespace {

// For which a weight's algorithm is chosen: enough to fill the GPU.
constexpr int64_t kRepresentativeRows = 8192;
// Up to so many rows an algorithm that is faster there may stand in for it.
constexpr std::array<int64_t, 6> kFewRows = {64, 128, 256, 512, 1024, 2048};
// Of how many of the library's proposals the first with the same bits is taken.
constexpr int kProposals = 8;
// Rows on which two algorithms are compared.
constexpr int64_t kComparedRows = 192;

template <class T, cublasStatus_t (*destroy)(T)>
struct Destroy {
  void operator()(T handle) const { destroy(handle); }
};
template <class T, cublasStatus_t (*destroy)(T)>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, Destroy<T, destroy>>;
using Operation = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

cudaDataType_t TypeOf(DType type) {
  switch (type) {
    case DType::kF32:
      return CUDA_R_32F;
    case DType::kF16:
      return CUDA_R_16F;
    case DType::kBF16:
      return CUDA_R_16BF;
    default:
      Throw(ErrorCode::kInternal, "dtype: got ", Name(type), ", expected f32, f16 or bf16");
  }
}

Layout MakeLayout(cudaDataType_t type, int64_t rows, int64_t cols, int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  PITH_CUDA(cublasLtMatrixLayoutCreate(&layout, type, rows, cols, stride));
  return Layout(layout);
}

// What the library multiplies: both operands of one type, and where that is e4m3 their scales.
struct Operands {
  cudaDataType_t type;
  const void* w;
  const void* x;
  int64_t x_stride;
  const float* w_scales = nullptr;
  const float* x_scales = nullptr;
};

Operation MakeOperation(const Operands& operands, const float* bias) {
  cublasLtMatmulDesc_t made = nullptr;
  PITH_CUDA(cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  Operation operation(made);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
    PITH_CUDA(cublasLtMatmulDescSetAttribute(made, attribute, &value, sizeof(value)));
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (bias != nullptr) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
  }
  if (operands.w_scales != nullptr) {
    set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, int32_t{CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F});
    set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, int32_t{CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F});
    // Sums stay in the tensor cores, with fewer bits: an error far below that of rounding to e4m3.
    set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t{1});
    set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, operands.w_scales);
    set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, operands.x_scales);
    // Sums of 8-bit products stay in the tensor cores' own accumulators, which keep fewer bits than
    // f32 and yet far more than the operands have.
    set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t{1});
  }
  return operation;
}

// The library's matrices are column-major: outᵀ [out, rows] = w [out, in] · xᵀ [in, rows].
struct Layouts {
  Layouts(const ProductArgs& args, const Operands& operands, int64_t rows)
      : w(MakeLayout(operands.type, args.w.cols, args.w.rows, args.w.cols)),
        x(MakeLayout(operands.type, args.w.cols, rows, operands.x_stride)),
        out(MakeLayout(TypeOf(args.out_type), args.w.rows, rows, args.out_stride)) {}
  Layout w, x, out;
};

// The library's proposals for so many rows, none of which splits a sum, the fastest first.
std::vector<cublasLtMatmulAlgo_t> Propose(Gpu& gpu, const ProductArgs& args,
                                          const Operands& operands, const Operation& operation,
                                          int64_t rows, int most) {
  cublasLtMatmulPreference_t made = nullptr;
  PITH_CUDA(cublasLtMatmulPreferenceCreate(&made));
  const Preference preference(made);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    PITH_CUDA(cublasLtMatmulPreferenceSetAttribute(made, attribute, &value, sizeof(value)));
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, Gpu::kProductScratch);
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE});
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    set(attribute, uint32_t{16});
  }
  const Layouts layouts(args, operands, rows);
  std::vector<cublasLtMatmulHeuristicResult_t> results(most);
  int found = 0;
  PITH_CUDA(cublasLtMatmulAlgoGetHeuristic(gpu.products(), operation.get(), layouts.w.get(),
                                           layouts.x.get(), layouts.out.get(), layouts.out.get(),
                                           preference.get(), most, results.data(), &found));
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (int i = 0; i < found; ++i) algorithms.push_back(results[i].algo);
  return algorithms;
}

cublasLtMatmulAlgo_t Choose(Gpu& gpu, const ProductArgs& args, const Operands& operands,
                            const Operation& operation) {
  const auto proposed = Propose(gpu, args, operands, operation, kRepresentativeRows, 1);
  Require(!proposed.empty(), ErrorCode::kUnsupported, "cuBLASLt has no product for a weight of [",
          args.w.rows, ", ", args.w.cols, "] in ",
          operands.w_scales != nullptr ? "e4m3" : Name(args.w.dtype));
  return proposed[0];
}

void Run(Gpu& gpu, cudaStream_t stream, const ProductArgs& args, const Operands& operands,
         const Operation& operation, const cublasLtMatmulAlgo_t& algorithm) {
  const Layouts layouts(args, operands, args.rows);
  const float one = 1, zero = 0;
  PITH_CUDA(cublasLtMatmul(gpu.products(), operation.get(), &one, operands.w, layouts.w.get(),
                           operands.x, layouts.x.get(), &zero, args.out, layouts.out.get(),
                           args.out, layouts.out.get(), &algorithm, gpu.product_scratch(),
                           Gpu::kProductScratch, stream));
}

// The first of the proposals for few rows that multiplies rows of noise by this weight to the bits
// of `usual`, or else that: which algorithm runs then changes no result.
cublasLtMatmulAlgo_t ChooseForFew(const Exec& exec, ProductArgs args, Operands operands,
                                  const Operation& operation, int64_t rows,
                                  const cublasLtMatmulAlgo_t& usual) {
  Gpu& gpu = GpuOf(exec);
  const auto proposed = Propose(gpu, args, operands, operation, rows, kProposals);
  const int64_t out_bytes =
      kComparedRows * args.out_stride * static_cast<int64_t>(SizeOf(args.out_type));
  const Scratch<uint16_t> x(exec, kComparedRows * operands.x_stride);
  const Scratch<std::byte> expected(exec, out_bytes), got(exec, out_bytes);
  FillWithNoise(exec, args.w.dtype, x.data(), kComparedRows * operands.x_stride);
  operands.x = x.data();
  args.rows = kComparedRows;
  const auto multiply = [&](const cublasLtMatmulAlgo_t& algorithm, std::byte* out) {
    args.out = out;
    gpu.Clear(exec.queue, out, out_bytes);
    Run(gpu, StreamOf(exec), args, operands, operation, algorithm);
  };
  multiply(usual, expected.data());
  for (const cublasLtMatmulAlgo_t& algorithm : proposed) {
    multiply(algorithm, got.data());
    if (AreEqual(exec, expected.data(), got.data(), out_bytes)) return algorithm;
  }
  return usual;
}

// The algorithm that a weight always has, or for few rows one with its bits.
cublasLtMatmulAlgo_t AlgorithmFor(const Exec& exec, const ProductArgs& args,
                                  const Operands& operands, const Operation& operation) {
  Gpu& gpu = GpuOf(exec);
  ProductShape shape = {.type = operands.type,
                        .rows = args.w.rows,
                        .cols = args.w.cols,
                        .out = TypeOf(args.out_type),
                        .x_stride = operands.x_stride,
                        .out_stride = args.out_stride,
                        .bias = args.bias.data != nullptr};
  const auto usual = gpu.Algorithm(shape, [&] { return Choose(gpu, args, operands, operation); });
  const auto few = std::ranges::lower_bound(kFewRows, args.rows);
  if (few == kFewRows.end() || operands.w_scales != nullptr || gpu.IsRecording()) return usual;
  shape.few_rows = *few;
  return gpu.Algorithm(shape,
                       [&] { return ChooseForFew(exec, args, operands, operation, *few, usual); });
}

void Multiply(const Exec& exec, const ProductArgs& args, const Operands& operands) {
  const Operation operation = MakeOperation(operands, args.bias.data);
  const auto algorithm = AlgorithmFor(exec, args, operands, operation);
  Run(GpuOf(exec), StreamOf(exec), args, operands, operation, algorithm);
}

void MultiplyE4M3(const Exec& exec, const ProductArgs& args, const void* x, const float* x_scales) {
  const auto* const w = static_cast<const uint8_t*>(args.w.e4m3) + args.w.first * args.w.cols;
  Multiply(exec, args, {CUDA_R_8F_E4M3, w, x, args.w.cols, args.w.scales + args.w.first, x_scales});
}

}  // namespace

bool ReadsE4M3(const Exec& exec, const ProductArgs& args) {
  return exec.fp8 && args.w.e4m3 != nullptr && args.bias.empty() && args.w.rows % 8 == 0;
}

void Product(const Exec& exec, const ProductArgs& args) {
  if (args.rows == 0 || args.w.rows == 0) return;
  if (args.x_scales != nullptr) return MultiplyE4M3(exec, args, args.x, args.x_scales);
  if (!ReadsE4M3(exec, args)) {
    const auto* const w = static_cast<const std::byte*>(args.w.data) +
                          args.w.first * args.w.cols * SizeOf(args.w.dtype);
    return Multiply(exec, args, {TypeOf(args.w.dtype), w, args.x, args.x_stride});
  }
  const Scratch<uint8_t> x(exec, args.rows * args.w.cols);
  const Scratch<float> scales(exec, args.rows);
  RoundToE4M3(exec, args.x, args.w.dtype, args.x_stride, args.rows, args.w.cols, x.data(),
              scales.data());
  MultiplyE4M3(exec, args, x.data(), scales.data());
}

}  // namespace pith::cuda
