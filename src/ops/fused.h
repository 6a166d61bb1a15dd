// Operators that stand for several, so that a backend may keep what passes between them out of
// memory. A backend without a kernel of its own gets the composition, bits included; one with a
// kernel agrees with the composition to the rounding of its sums.
#ifndef PITH_OPS_FUSED_H_
#define PITH_OPS_FUSED_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"
#include "ops/causal_conv1d.h"
#include "ops/norm.h"
#include "ops/selective_scan.h"
#include "ops/ssd.h"

namespace pith {

// One linear map of NormLinear.
struct Projection {
  WeightView w;               // [out, d]
  VecView<const float> bias;  // [out] or empty
  MatView<float> out;         // [rows, out]
};

struct NormLinearArgs {
  AddNormArgs norm;  // norm.out is scratch: what it holds afterwards is not specified
  std::span<const Projection> to;
  bool step = false;  // LinearStep in place of Linear
};

// AddNorm, then each projection of the normalised rows. norm.sum is written as AddNorm writes it.
void NormLinear(const Exec& exec, const NormLinearArgs& args);

// Which rows of a scan are read out, and where y lies on its way to the gate.
struct ReadOut {
  // The rows whose gated output is wanted, ascending, on the host. Read only where gate.out has
  // fewer rows than the scan; else all are wanted.
  std::span<const int64_t> wanted;
  MatView<float> gathered;  // [wanted, d_inner]: scratch; not read where all rows are wanted
  // Whether the convolution's and the scan's outputs hold their values on return. Without, they
  // are scratch.
  bool keep = true;
};

struct ConvSsdGateArgs {
  CausalConv1dArgs conv;
  SsdArgs ssd;        // x, b and c are set here: the columns of conv.out, in this order
  bool step = false;  // SsdStep in place of Ssd
  GateArgs gate;      // y is set here; z and out have the wanted rows
  ReadOut read;
};

// Mamba-2 between its projections: CausalConv1d, Ssd, Gate over the wanted rows.
void ConvSsdGate(const Exec& exec, const ConvSsdGateArgs& args);

struct ScanGateArgs {
  SelectiveScanArgs scan;
  GateArgs gate;  // y is set here; z and out have the wanted rows
  ReadOut read;
};

// Mamba-1 after its projections: SelectiveScan, Gate over the wanted rows. The convolution stands
// apart, because Δ, B and C are projected from what it gives.
void ScanGate(const Exec& exec, const ScanGateArgs& args);

// The compositions themselves, whether or not the backend has a kernel.
namespace composed {
void NormLinear(const Exec& exec, const NormLinearArgs& args);
void ConvSsdGate(const Exec& exec, const ConvSsdGateArgs& args);
void ScanGate(const Exec& exec, const ScanGateArgs& args);
}  // namespace composed

}  // namespace pith

#endif  // PITH_OPS_FUSED_H_
