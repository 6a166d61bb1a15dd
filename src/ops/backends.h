// The backends that a build may have, each defined in its folder or by a stand-in.
#ifndef PITH_OPS_BACKENDS_H_
#define PITH_OPS_BACKENDS_H_

namespace pith {

class Backend;

// Null where this build lacks the backend.
Backend* ReferenceBackend();
Backend* CpuBackend();
Backend* CudaBackend();

}  // namespace pith

#endif  // PITH_OPS_BACKENDS_H_
