#include "backends/cuda/product.h"

#include <memory>

#include "backends/cuda/gpu.h"

namespace pith::cuda {
namespace {

// For which an algorithm is chosen: enough to fill the GPU.
constexpr int64_t kRepresentativeRows = 8192;

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
  }
  Throw(ErrorCode::kInternal, "dtype: got ", static_cast<int>(type), ", expected a known one");
}

Layout MakeLayout(DType type, int64_t rows, int64_t cols, int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  PITH_CUDA(cublasLtMatrixLayoutCreate(&layout, TypeOf(type), rows, cols, stride));
  return Layout(layout);
}

Operation MakeOperation(const float* bias) {
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
  return operation;
}

// The library's matrices are column-major: outᵀ [out, rows] = w [out, in] · xᵀ [in, rows].
struct Layouts {
  explicit Layouts(const ProductArgs& args, int64_t rows)
      : w(MakeLayout(args.w.dtype, args.w.cols, args.w.rows, args.w.cols)),
        x(MakeLayout(args.w.dtype, args.w.cols, rows, args.x_stride)),
        out(MakeLayout(args.out_type, args.w.rows, rows, args.out_stride)) {}
  Layout w, x, out;
};

cublasLtMatmulAlgo_t Choose(Gpu& gpu, const ProductArgs& args, const Operation& operation) {
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
  const Layouts layouts(args, kRepresentativeRows);
  cublasLtMatmulHeuristicResult_t result;
  int found = 0;
  PITH_CUDA(cublasLtMatmulAlgoGetHeuristic(gpu.products(), operation.get(), layouts.w.get(),
                                           layouts.x.get(), layouts.out.get(), layouts.out.get(),
                                           preference.get(), 1, &result, &found));
  Require(found > 0, ErrorCode::kUnsupported, "cuBLASLt has no product for a weight of [",
          args.w.rows, ", ", args.w.cols, "] in ", Name(args.w.dtype));
  return result.algo;
}

}  // namespace

void Product(const Exec& exec, const ProductArgs& args) {
  if (args.rows == 0 || args.w.rows == 0) return;
  Gpu& gpu = GpuOf(exec);
  const cudaStream_t stream = StreamOf(exec);
  const Operation operation = MakeOperation(args.bias.data);
  const Layouts layouts(args, args.rows);
  const auto algorithm = gpu.Algorithm({.type = TypeOf(args.w.dtype),
                                        .rows = args.w.rows,
                                        .cols = args.w.cols,
                                        .out = TypeOf(args.out_type),
                                        .x_stride = args.x_stride,
                                        .out_stride = args.out_stride,
                                        .bias = args.bias.data != nullptr},
                                       [&] { return Choose(gpu, args, operation); });
  const auto* const w = static_cast<const std::byte*>(args.w.data) +
                        args.w.first * args.w.cols * SizeOf(args.w.dtype);
  const float one = 1, zero = 0;
  PITH_CUDA(cublasLtMatmul(gpu.products(), operation.get(), &one, w, layouts.w.get(), args.x,
                           layouts.x.get(), &zero, args.out, layouts.out.get(), args.out,
                           layouts.out.get(), &algorithm, gpu.product_scratch(),
                           Gpu::kProductScratch, stream));
}

}  // namespace pith::cuda
