// What this build holds for the GPU of the calling thread.
#ifndef PITH_BACKENDS_CUDA_COMPILED_H_
#define PITH_BACKENDS_CUDA_COMPILED_H_

namespace pith::cuda {

// Whether there is code for it at all.
bool IsCompiledForThisGpu();
// Whether that code has warpgroup products: compiled for 90a, not for 90.
bool HasWarpgroupKernels();

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_COMPILED_H_
