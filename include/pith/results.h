// What the engine hands back.
#ifndef PITH_RESULTS_H_
#define PITH_RESULTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pith {

// `realised` in all results: the share of the layers' work over the context that was saved, from
// the rows that stood in each layer and the far writes that were made (docs/reductions.md, "The
// count of work").

// What a prefill did to its context.
struct PrefillReport {
  int64_t tokens = 0;     // tokens read
  int64_t rows_left = 0;  // rows that reached the last layer
  double realised = 0;
  double seconds = 0;  // wall clock
  int64_t reused =
      0;  // of `tokens`, those that were not read, since a state after them was at hand
};

struct RankedToken {
  int32_t id = 0;
  double logprob = 0;  // nats
};

struct TokenLogprob {
  int32_t id = 0;
  double logprob = 0;  // nats
  int32_t top_id = 0;  // the most likely token in its place
  double top_logprob = 0;
  std::vector<RankedToken> ranked;  // the most likely tokens, the first of them first, where asked
};

struct GenerateResult {
  std::string text;                    // without the stop text
  std::vector<int32_t> ids;            // every token sampled, the end-of-text token included
  std::vector<TokenLogprob> logprobs;  // one for each of `ids`, with GenerateOptions::logprobs
  std::string finish;                  // "end-of-text", "stop", "length", "cancelled" or "stopped"
  PrefillReport prefill;
  double decode_seconds = 0;
};

struct ScoreItem {
  std::vector<int32_t> context;  // may be empty: then the first continuation token is not scored
  std::vector<int32_t> continuation;  // at least one token
};

struct ScoreResult {
  double logprob = 0;   // Σ log softmax(logits)[continuation token], nats
  int64_t tokens = 0;   // continuation tokens that were scored
  bool greedy = false;  // every one of them was the most likely token
  int64_t greedy_tokens = 0;
  int64_t context_tokens = 0;
  int64_t context_rows = 0;  // rows of the context that reached the last layer
  double realised = 0;
  std::vector<TokenLogprob> token_logprobs;  // with ScoreOptions::logprobs
};

// What scoring many items cost.
struct ScoreStats {
  int64_t context_tokens = 0;  // read, each distinct context once
  double context_seconds = 0;  // wall clock of reading them, reduced or not
};

struct PerplexityResult {
  double nll = 0;      // mean nats per predicted token
  double ppl = 0;      // exp(nll)
  int64_t tokens = 0;  // predicted tokens
};

struct SiteRows {
  int layer = 0;    // 0-based; −1: before the first layer
  int64_t in = 0;   // rows that enter the site
  int64_t out = 0;  // rows that leave it
};

// What skim saves of a context depends on its text: the truth lies between these.
struct SkimBounds {
  int64_t far = 0;                // tokens that are far
  int64_t chunk = 0;              // tokens per chunk of far writes
  double realised_all_pairs = 0;  // every (layer, head, chunk) is written
  double realised_no_pairs = 0;   // none is
};

struct PlanReport {
  std::string reduce;  // canonical spelling
  int64_t tokens = 0;
  std::vector<SiteRows> sites;
  std::optional<SkimBounds> skim;
  double keep = 1;             // share of rows kept at each site, given or solved
  int64_t protected_tail = 0;  // last tokens that are neither removed nor altered; skim: 0
  double realised = 0;         // of the count that the reduction was asked in; skim: all pairs
  double realised_blocks = 0;  // of the layers alone
  double realised_full = 0;    // of the layers and the head over the surviving rows
  double dense_gflop = 0;      // layers and head for these tokens
  double reduced_gflop = 0;
};

// What became of one token of a context.
struct TokenFate {
  int32_t id = 0;
  bool far = false;  // skim: stopped being processed in the skimmed layers, and only wrote state
  int site = -1;     // −1: kept to the end; else index into PlanReport::sites
  int64_t merged_into = -1;      // position of the row that took it in; −1: pruned
  bool merged_hidden = false;    // in the hidden branch
  bool merged_residual = false;  // in the residual branch
};

struct InspectReport {
  PlanReport plan;
  std::vector<TokenFate> tokens;
  // Skim, per layer: [n_heads][chunks of the far region], 1 where the chunk's write into
  // the head's state was made; empty for layers that read every token. Mamba-1 writes all: its
  // layers are empty. No layers without skim.
  std::vector<std::vector<std::vector<uint8_t>>> far_writes;
};

}  // namespace pith

#endif  // PITH_RESULTS_H_
