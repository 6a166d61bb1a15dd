#include "ops/fused.h"

#include "ops/checks.h"
#include "ops/kernels.h"
#include "ops/linear.h"
#include "ops/rows.h"

namespace pith {
namespace {

// A null kernel stands for the composition.
template <class Args>
void Run(const Exec& exec, void (*kernel)(const Exec&, const Args&),
         void (*composition)(const Exec&, const Args&), const Args& args) {
  (kernel != nullptr ? kernel : composition)(exec, args);
}

bool AllWanted(int64_t rows, const GateArgs& gate) { return gate.out.rows == rows; }

void CheckReadOut(int64_t rows, int64_t d_inner, const GateArgs& gate, const ReadOut& read) {
  CheckMatrix(gate.z, gate.out.rows, d_inner);
  CheckMatrix(gate.out, gate.z.rows, d_inner);
  if (AllWanted(rows, gate)) return;
  PITH_CHECK(static_cast<int64_t>(read.wanted.size()) == gate.out.rows);
  CheckMatrix(read.gathered, gate.out.rows, d_inner);
  int64_t previous = -1;
  for (const int64_t row : read.wanted) {
    PITH_CHECK(row > previous && row < rows);
    previous = row;
  }
}

void GateWanted(const Exec& exec, MatView<const float> y, GateArgs gate, const ReadOut& read) {
  gate.y = y;
  if (!AllWanted(y.rows, gate)) {
    GatherRows(exec, {.a = y, .a_rows = read.wanted, .out = read.gathered});
    gate.y = read.gathered;
  }
  Gate(exec, gate);
}

// With the scan's inputs in their place.
ConvSsdGateArgs Joined(ConvSsdGateArgs args) {
  const int64_t d_inner = args.ssd.n_heads * args.ssd.head_dim;
  const int64_t bc = args.ssd.n_groups * args.ssd.d_state;
  PITH_CHECK(args.conv.out.cols == d_inner + 2 * bc);
  args.ssd.x = args.conv.out.Cols(0, d_inner);
  args.ssd.b = args.conv.out.Cols(d_inner, bc);
  args.ssd.c = args.conv.out.Cols(d_inner + bc, bc);
  return args;
}

}  // namespace

namespace composed {

void NormLinear(const Exec& exec, const NormLinearArgs& args) {
  AddNorm(exec, args.norm);
  for (const Projection& p : args.to) {
    (args.step ? LinearStep : Linear)(exec, args.norm.out, p.w, p.bias, p.out);
  }
}

void ConvSsdGate(const Exec& exec, const ConvSsdGateArgs& args) {
  const ConvSsdGateArgs joined = Joined(args);
  CausalConv1d(exec, joined.conv);
  (joined.step ? SsdStep : Ssd)(exec, joined.ssd);
  GateWanted(exec, joined.ssd.y, joined.gate, joined.read);
}

void ScanGate(const Exec& exec, const ScanGateArgs& args) {
  SelectiveScan(exec, args.scan);
  GateWanted(exec, args.scan.y, args.gate, args.read);
}

}  // namespace composed

void NormLinear(const Exec& exec, const NormLinearArgs& args) {
  for (const Projection& p : args.to) {
    PITH_CHECK(p.w.cols == args.norm.x.cols && (p.w.rows == 0 || p.w.data != nullptr));
    CheckMatrix(p.out, args.norm.x.rows, p.w.rows);
  }
  CheckMatrix(args.norm.out, args.norm.x.rows, args.norm.x.cols);
  Run(exec, KernelsFor(exec).norm_linear, composed::NormLinear, args);
}

void ConvSsdGate(const Exec& exec, const ConvSsdGateArgs& args) {
  const ConvSsdGateArgs joined = Joined(args);
  CheckReadOut(joined.ssd.y.rows, joined.ssd.y.cols, joined.gate, joined.read);
  Run(exec, KernelsFor(exec).conv_ssd_gate, composed::ConvSsdGate, joined);
}

void ScanGate(const Exec& exec, const ScanGateArgs& args) {
  CheckReadOut(args.scan.y.rows, args.scan.d_inner, args.gate, args.read);
  Run(exec, KernelsFor(exec).scan_gate, composed::ScanGate, args);
}

}  // namespace pith
