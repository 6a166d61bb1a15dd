// Best matches of rows that device memory lists, for whoever has the lists on the host or not.
#ifndef PITH_BACKENDS_CUDA_MATCH_CUH_
#define PITH_BACKENDS_CUDA_MATCH_CUH_

#include <climits>

#include "backends/cuda/launch.cuh"
#include "core/tensor.h"
#include "ops/match.h"
#include "ops/pair_plan.h"

namespace pith::cuda {

struct Best {
  float similarity;
  int32_t index;  // into targets; INT_MAX: none
};

// The first of equals.
__device__ inline void Take(Best& best, const Best& other) {
  if (other.similarity > best.similarity ||
      (other.similarity == best.similarity && other.index < best.index)) {
    best = other;
  }
}

// to [depth] = the row of `cols` values over its norm; 0 beyond them, and everywhere for a row that
// is not finite. By a block of kThreads.
template <int kThreads, class T>
__device__ void WriteUnit(const float* row, int64_t cols, int64_t depth, T* to) {
  double square = 0;
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) {
    const double v = row[c];
    square += v * v;
  }
  square = BlockSum<kThreads>(square);
  const bool directed = isfinite(square);
  const double inverse = 1 / fmax(sqrt(square), 1e-12);
  for (int64_t c = threadIdx.x; c < depth; c += kThreads) {
    to[c] = T(directed && c < cols ? static_cast<float>(row[c] * inverse) : 0.0f);
  }
}

// One sequence's rows, in device memory: MatchArgs with room for a Match a source.
struct MatchLists {
  MatView<const float> features;
  const int32_t* sources;
  int64_t source_count;
  const int32_t* targets;
  int64_t target_count;
  const MatchArgs::Candidates* candidates;
  Match* best;
};

// In f32, as BestMatches says.
void MatchF32(const Exec& exec, const MatchLists& lists);

// A sequence of a batch, and where its part of the plan goes.
struct PairTask {
  PairSequence sequence;
  int64_t removed_at;
  int64_t kept_at;
  __host__ __device__ int64_t unprotected() const {
    return sequence.rows - sequence.protected_tail;
  }
  __host__ __device__ int64_t sources() const { return unprotected() / 2; }
  __host__ __device__ int64_t targets() const { return unprotected() - sources(); }
};

// The lists of a batch, in device memory. A sequence's lie from its first row on.
struct PairLists {
  const PairTask* tasks;
  const int32_t* order;  // sources, then targets: rows of the sequence
  const MatchArgs::Candidates* candidates;
  Match* best;
};

// All sequences at once, by tensor cores: unit rows rounded to f16, sums in f32. `tasks` are on the
// host, those of `lists`.
void MatchTensor(const Exec& exec, MatView<const float> features, std::span<const PairTask> tasks,
                 const PairLists& lists);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_MATCH_CUH_
