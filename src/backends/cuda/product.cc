#include "backends/cuda/product.h"

#include <memory>

#include "backends/cuda/gpu.h"
#include "backends/cuda/kernels.h"

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
    set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, operands.w_scales);
    set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, operands.x_scales);
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

cublasLtMatmulAlgo_t Choose(Gpu& gpu, const ProductArgs& args, const Operands& operands,
                            const Operation& operation) {
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
  const Layouts layouts(args, operands, kRepresentativeRows);
  cublasLtMatmulHeuristicResult_t result;
  int found = 0;
  PITH_CUDA(cublasLtMatmulAlgoGetHeuristic(gpu.products(), operation.get(), layouts.w.get(),
                                           layouts.x.get(), layouts.out.get(), layouts.out.get(),
                                           preference.get(), 1, &result, &found));
  Require(found > 0, ErrorCode::kUnsupported, "cuBLASLt has no product for a weight of [",
          args.w.rows, ", ", args.w.cols, "] in ",
          operands.w_scales != nullptr ? "e4m3" : Name(args.w.dtype));
  return result.algo;
}

void Multiply(const Exec& exec, const ProductArgs& args, const Operands& operands) {
  Gpu& gpu = GpuOf(exec);
  const cudaStream_t stream = StreamOf(exec);
  const Operation operation = MakeOperation(operands, args.bias.data);
  const Layouts layouts(args, operands, args.rows);
  const auto algorithm = gpu.Algorithm({.type = operands.type,
                                        .rows = args.w.rows,
                                        .cols = args.w.cols,
                                        .out = TypeOf(args.out_type),
                                        .x_stride = operands.x_stride,
                                        .out_stride = args.out_stride,
                                        .bias = args.bias.data != nullptr},
                                       [&] { return Choose(gpu, args, operands, operation); });
  const float one = 1, zero = 0;
  PITH_CUDA(cublasLtMatmul(gpu.products(), operation.get(), &one, operands.w, layouts.w.get(),
                           operands.x, layouts.x.get(), &zero, args.out, layouts.out.get(),
                           args.out, layouts.out.get(), &algorithm, gpu.product_scratch(),
                           Gpu::kProductScratch, stream));
}

// Whether the slice of the weight that is asked for may be read in e4m3.
bool ReadsE4M3(const Exec& exec, const ProductArgs& args) {
  return exec.fp8 && args.w.e4m3 != nullptr && args.bias.empty() && args.w.rows % 8 == 0;
}

}  // namespace

void Product(const Exec& exec, const ProductArgs& args) {
  if (args.rows == 0 || args.w.rows == 0) return;
  const int64_t first = args.w.first * args.w.cols;  // of the weight's values
  if (!ReadsE4M3(exec, args)) {
    const auto* const w = static_cast<const std::byte*>(args.w.data) + first * SizeOf(args.w.dtype);
    return Multiply(exec, args, {TypeOf(args.w.dtype), w, args.x, args.x_stride});
  }
  const Scratch<uint8_t> x(exec, args.rows * args.w.cols);
  const Scratch<float> scales(exec, args.rows);
  RoundToE4M3(exec, args.x, args.w.dtype, args.x_stride, args.rows, args.w.cols, x.data(),
              scales.data());
  Multiply(exec, args,
           {CUDA_R_8F_E4M3, static_cast<const uint8_t*>(args.w.e4m3) + first, x.data(), args.w.cols,
            args.w.scales + args.w.first, scales.data()});
}

}  // namespace pith::cuda
