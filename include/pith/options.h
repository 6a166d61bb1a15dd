// Everything that a caller can choose, with its defaults.
#ifndef PITH_OPTIONS_H_
#define PITH_OPTIONS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pith/reduction.h"

namespace pith {

struct EngineOptions {
  // "cpu", "reference" (scalar, double sums), "cuda" (the first NVIDIA GPU), or "cuda:N" for the
  // one that the driver numbers N, from 0. "cuda:all" is several devices: see DevicesOf.
  std::string device = "cpu";
  // "f32": f32 activations on weights as stored, the precision of record. "bf16" and, not on the
  // CPU, "f16": both rounded to it in matrix products, f32 sums (where a CPU multiplies f16 faster
  // than bf16, "bf16" takes f16 with scales, and sums 32 products in it). "fp8", on GPUs of compute
  // capability 9.0 alone: "bf16", but that prefill's products with in_proj and out_proj read 8
  // bits.
  std::string dtype = "f32";
  // "stored", or "int8" or "int4", on the CPU and the reference: the matrices of products are
  // rounded to it as they are loaded, whatever the file holds, and products read them and their
  // activations as whole numbers with scales (docs/quantization.md), whatever `dtype` is.
  std::string weights = "stored";
  // "f32", or "bf16" or "f16": what Mamba-2's states are held as between the pieces of a prompt and
  // between steps. The latter two on a GPU, with a 16-bit dtype: half of the states' memory, and of
  // what a step moves of it, for a rounding a piece and step. Not under skim.
  std::string state_dtype = "f32";
  int threads = 0;  // 0: all processors that this process may use
  // Rows in flight in prefill, which bounds the scratch memory. 0: 1024 on the CPU, 16384 on a GPU.
  int64_t rows_per_chunk = 0;
  int64_t ssd_chunk = 64;      // rows per chunk of Mamba-2's SSD layer
  bool verify_weights = true;  // scan all weights for NaN and infinity while loading
};

struct SamplingOptions {
  bool greedy = false;  // always the most likely token; ties go to the lower id
  double temperature = 1.0;
  int64_t top_k = 0;   // keep the k most likely tokens; 0: all
  double top_p = 1.0;  // keep the smallest set of most likely tokens with this much probability
  double min_p = 0.0;  // drop tokens less likely than this share of the most likely one
  double repetition_penalty = 1.0;  // > 1 lowers tokens that this session has read
  uint64_t seed = 0;
};

struct RunControl {
  const std::atomic<bool>* cancel = nullptr;       // raised by another thread or a signal
  std::function<void(double)> progress = nullptr;  // share done, 0 … 1
};

// An edge that a policy weighs at a site: `row` may merge into `target`.
struct SiteEdge {
  int32_t row = 0;
  int32_t target = -1;  // −1: it has none
  float similarity = 0;
};

// What stood at one site, and what was planned for it. The spans are the call's.
struct SiteSight {
  int layer = 0;
  int64_t rows = 0;
  int64_t protected_tail = 0;         // last rows that are neither removed nor altered
  std::span<const float> importance;  // [rows] as the policy read it; empty: it reads none
  std::span<const SiteEdge> edges;    // in the order in which they were found; empty: none
  std::span<const int32_t> removed;   // rows, increasing
};

struct InspectOptions {
  RunControl control;
  std::function<void(const SiteSight&)> on_site = nullptr;  // called at each site
};

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplingOptions sampling;
  std::vector<std::string> stop;    // texts that end the output and are not part of it
  bool stop_at_end_of_text = true;  // stop at the model's end-of-text token
  // At least 0: list every token with its log-probability and so many of the most likely tokens,
  // after the repetition penalty and before temperature and filters. −1: list nothing.
  int64_t logprobs = -1;
  Reduction reduction;
  // Receives valid UTF-8 as it becomes final. Returning false stops after this piece.
  std::function<bool(std::string_view text)> on_text = nullptr;
  RunControl control;
};

// Which row is scored against which label once rows are gone (docs/scoring.md). Figures of
// different modes do not compare.
enum class ScoringMode : uint8_t {
  kContext,        // the context alone is reduced; every label is scored
  kSurvivors,      // context and continuation are reduced together; rows that are left score theirs
  kPublishedTail,  // the published code: padded batches, rows and labels aligned at the end
  kPaperFirst,     // the paper's sentence: the first 1 − m % of the labels
};
// "context", "survivors", "published-tail", "paper-first". Throws kInvalidArgument, listing them.
ScoringMode ParseScoringMode(std::string_view name);
std::string_view ScoringModeName(ScoringMode mode);

struct ScoreOptions {
  Reduction reduction;
  ScoringMode mode = ScoringMode::kContext;
  int64_t padded_batch = 16;          // published-tail: items padded together, longest first
  bool logprobs = false;              // list every continuation token in the result
  int64_t max_batch_tokens = 8192;    // context tokens in flight together
  int64_t max_state_bytes = 1 << 30;  // bound on the sequence states held at once
  RunControl control;
};

}  // namespace pith

#endif  // PITH_OPTIONS_H_
