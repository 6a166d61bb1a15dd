// The backends that a build may have, each defined in its folder or by a stand-in.
#ifndef PITH_OPS_BACKENDS_H_
#define PITH_OPS_BACKENDS_H_

namespace pith {

class Backend;

// Null where this build lacks the backend.
Backend* ReferenceBackend();
Backend* CpuBackend();
// Of the machine's GPUs, the one with this number; below CudaDevices().
Backend* CudaBackend(int ordinal = 0);

// The machine's NVIDIA GPUs that a driver runs; −1 where this build lacks the backend. Touches
// CUDA, and throws nothing.
int CudaDevices();

}  // namespace pith

#endif  // PITH_OPS_BACKENDS_H_
