// Rows are cut into tiles and units into slices, both of fixed size. A block walks one tile back
// for one slice, a thread a unit: it keeps T_u, whose value at the tile's end comes from sums of
// whole tiles, and the slice's sum is taken row by row. No T_u is held for more than a tile.
#include "ops/scan_importance.h"

#include <algorithm>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int64_t kTile = 32;  // rows
constexpr int kSlice = 128;    // units
constexpr int kThreads = 256;
constexpr int64_t kWarps = kThreads / 32;

struct Scan {
  Rows<const float> rows;
  int64_t count;
  const float* a;
  ScanShape shape;
  int64_t bc;
  ImportanceKind kind;

  __device__ const float* B(int64_t t) const { return rows[t] + 2 * shape.units; }
  __device__ const float* C(int64_t t) const { return B(t) + bc; }
  __device__ bool reads() const { return kind == ImportanceKind::kLastRow; }
};

// sums [tiles, units] = Σ Δ over each tile.
__global__ void SumTiles(Scan scan, double* sums) {
  const int64_t slices = (scan.shape.units + kSlice - 1) / kSlice;
  const int64_t tile = blockIdx.x / slices;
  const int64_t u = blockIdx.x % slices * kSlice + threadIdx.x;
  if (u >= scan.shape.units) return;
  double sum = 0;
  for (int64_t t = min(scan.count, (tile + 1) * kTile) - 1; t >= tile * kTile; --t) {
    sum += scan.rows[t][u];
  }
  sums[tile * scan.shape.units + u] = sum;
}

// Each tile's sum becomes the sum of the tiles after it.
__global__ void SumLaterTiles(double* sums, int64_t tiles, int64_t units) {
  const int64_t u = blockIdx.x * static_cast<int64_t>(kSlice) + threadIdx.x;
  if (u >= units) return;
  double after = 0;
  for (int64_t tile = tiles - 1; tile >= 0; --tile) {
    const double sum = sums[tile * units + u];
    sums[tile * units + u] = after;
    after += sum;
  }
}

// factors [count, groups]: what all units of a group share where states decay alike, Σ_n B² or
// Σ_n B · C(last). A warp each.
__global__ void GroupFactors(Scan scan, double* factors) {
  const int64_t at = blockIdx.x * kWarps + threadIdx.x / 32;
  if (at >= scan.count * scan.shape.groups) return;
  const int64_t t = at / scan.shape.groups;
  const int64_t first = at % scan.shape.groups * scan.shape.d_state;
  const float* const b = scan.B(t) + first;
  const float* const with = scan.reads() ? scan.C(scan.count - 1) + first : b;
  double sum = 0;
  for (int64_t n = threadIdx.x % 32; n < scan.shape.d_state; n += 32) {
    sum += static_cast<double>(b[n]) * with[n];
  }
  sum = WarpSum(sum);
  if (threadIdx.x % 32 == 0) factors[at] = sum;
}

// Σ_n of what `u` writes per state, squared, or of what the last row reads of it, where each state
// has its own decay.
__device__ double OverStates(const Scan& scan, int64_t t, int64_t u, double exponent) {
  const int64_t first = u / (scan.shape.units / scan.shape.groups) * scan.shape.d_state;
  const float* const b = scan.B(t) + first;
  const float* const with = scan.reads() ? scan.C(scan.count - 1) + first : b;
  double sum = 0;
  for (int64_t n = 0; n < scan.shape.d_state; ++n) {
    sum += static_cast<double>(b[n]) * with[n] * exp(exponent * scan.a[n * scan.shape.units + u]);
  }
  return sum;
}

// The unit's term of the sum; `after` is T_u(t).
__device__ double Term(const Scan& scan, int64_t t, int64_t u, double after,
                       const double* factors) {
  const double delta = scan.rows[t][u];
  if (scan.kind == ImportanceKind::kDelta) return delta;
  const double write = delta * scan.rows[t][scan.shape.units + u];
  const double weight = scan.reads() ? delta : write * write;
  const double exponent = scan.reads() ? after : 2 * after;
  if (factors == nullptr) return weight * OverStates(scan, t, u, exponent);
  const int64_t group = u / (scan.shape.units / scan.shape.groups);
  const double factor = factors[t * scan.shape.groups + group];
  if (scan.kind == ImportanceKind::kStateWrite) return weight * factor;
  return weight * factor * exp(exponent * scan.a[u]);
}

// parts [slices, count] = the sums over each slice of units. `later`: as SumLaterTiles leaves them,
// or null where nothing decays.
__global__ void SumSlices(Scan scan, const double* later, const double* factors, double* parts) {
  const int64_t slices = (scan.shape.units + kSlice - 1) / kSlice;
  const int64_t tile = blockIdx.x / slices;
  const int64_t slice = blockIdx.x % slices;
  const int64_t u = slice * kSlice + threadIdx.x;
  const bool mine = u < scan.shape.units;
  double after = mine && later != nullptr ? later[tile * scan.shape.units + u] : 0;
  for (int64_t t = min(scan.count, (tile + 1) * kTile) - 1; t >= tile * kTile; --t) {
    double term = 0;
    if (mine) {
      term = Term(scan, t, u, after, factors);
      after += scan.rows[t][u];
    }
    const double sum = BlockSum<kSlice>(term);
    if (threadIdx.x == 0) parts[slice * scan.count + t] = sum;
  }
}

// Slices are added in their order.
__global__ void AddSlices(Scan scan, const double* parts, int64_t slices, float* importance) {
  const int64_t t = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (t >= scan.count) return;
  double sum = 0;
  for (int64_t s = 0; s < slices; ++s) sum += parts[s * scan.count + t];
  const bool mean = scan.kind == ImportanceKind::kDelta || scan.reads();
  importance[t] =
      static_cast<float>(mean ? sum / static_cast<double>(scan.shape.units) : sqrt(sum));
}

// query [bc] = Σ of C over rows [first, count). Its scale has no part in a cosine.
__global__ void SumQuery(Scan scan, int64_t first, double* query) {
  const int64_t n = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (n >= scan.bc) return;
  double sum = 0;
  for (int64_t t = first; t < scan.count; ++t) sum += scan.C(t)[n];
  query[n] = sum;
}

// A warp a row.
__global__ void QueryCosines(Scan scan, const double* query, float* importance) {
  const int64_t t = blockIdx.x * kWarps + threadIdx.x / 32;
  if (t >= scan.count) return;
  double dot = 0, bb = 0, qq = 0;
  for (int64_t n = threadIdx.x % 32; n < scan.bc; n += 32) {
    const double b = scan.B(t)[n], q = query[n];
    dot += b * q;
    bb += b * b;
    qq += q * q;
  }
  dot = WarpSum(dot);
  const double norms = sqrt(WarpSum(qq)) * sqrt(WarpSum(bb));
  if (threadIdx.x % 32 == 0) importance[t] = norms == 0 ? 0.0f : static_cast<float>(dot / norms);
}

void TailQuery(const Exec& exec, const Scan& scan, int64_t tail, float* importance) {
  const Scratch<double> query(exec, scan.bc);
  const int64_t first = std::max<int64_t>(0, scan.count - std::max<int64_t>(1, tail));
  Launch(exec, SumQuery, Blocks(scan.bc, kThreads), kThreads, 0, scan, first, query.data());
  Launch(exec, QueryCosines, Blocks(scan.count, kWarps), kThreads, 0, scan, query.data(),
         importance);
}

}  // namespace

void ScanImportance(const Exec& exec, const ScanImportanceArgs& args) {
  const ScanShape& shape = args.shape;
  const Scan scan{args.rows, args.rows.rows, args.a.data, shape, shape.bc_width(), args.kind};
  if (args.kind == ImportanceKind::kTailQuery) {
    TailQuery(exec, scan, args.tail, args.importance.data);
    return;
  }
  const bool decays =
      args.kind == ImportanceKind::kFinalState || args.kind == ImportanceKind::kLastRow;
  const bool shared = args.kind == ImportanceKind::kStateWrite || (decays && !shape.a_per_state);
  const int64_t tiles = Blocks(scan.count, kTile);
  const int64_t slices = Blocks(shape.units, kSlice);
  const Scratch<double> later(exec, decays ? tiles * shape.units : 0);
  const Scratch<double> factors(exec, shared ? scan.count * shape.groups : 0);
  const Scratch<double> parts(exec, slices * scan.count);
  if (decays) {
    Launch(exec, SumTiles, Blocks(tiles * slices, 1), kSlice, 0, scan, later.data());
    Launch(exec, SumLaterTiles, slices, kSlice, 0, later.data(), tiles, shape.units);
  }
  if (shared) {
    Launch(exec, GroupFactors, Blocks(scan.count * shape.groups, kWarps), kThreads, 0, scan,
           factors.data());
  }
  Launch(exec, SumSlices, Blocks(tiles * slices, 1), kSlice, 0, scan,
         decays ? later.data() : nullptr, shared ? factors.data() : nullptr, parts.data());
  Launch(exec, AddSlices, Blocks(scan.count, kThreads), kThreads, 0, scan, parts.data(), slices,
         args.importance.data);
}

}  // namespace pith::cuda
