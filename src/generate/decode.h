// Decoding: one token at a time for any number of texts, which join and leave between steps.
#ifndef PITH_GENERATE_DECODE_H_
#define PITH_GENERATE_DECODE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "core/exec.h"
#include "generate/continuation.h"
#include "model/model.h"
#include "model/state_pool.h"
#include "model/step.h"
#include "model/workspace.h"
#include "ops/draw_tokens.h"

namespace pith {

// The texts of one pool. A text's tokens depend on neither the others nor on when they join, to the
// last bit. Between steps, passes may run over other slots of the pool with the same workspace.
class Decoder {
 public:
  Decoder(const Model& model, const Exec& exec, StatePool& pool, Workspace& workspace)
      : model_(model), exec_(exec), pool_(pool), workspace_(workspace) {}

  // A text to go on with from the next step. `logits` [vocab] follow what `sequence` has read,
  // which has no pending token. Both must stay until the text has left.
  void Join(Continuation& text, Sequence& sequence, std::span<const float> logits);
  // A text leaves before its end.
  void Leave(const Continuation& text);

  int64_t active() const { return static_cast<int64_t>(members_.size()); }
  // Draws a token for every text that wants one; the others leave. Every token that was drawn
  // before is read first, so a text that has left has at most one pending. In a steady state (no
  // text joins, none needs more room) nothing is allocated.
  void Step();

 private:
  struct Member {
    Continuation* text;
    Sequence* sequence;
    std::vector<float> logits;  // [vocab] that it joined with, until its first token is drawn
  };

  int64_t ReadPending();
  void ListLogprobs(int64_t count);

  const Model& model_;
  const Exec exec_;
  StatePool& pool_;
  Workspace& workspace_;
  std::vector<Member> members_;
  // Scratch of a step.
  LayerRows rows_;
  DeviceMat<float> logits_;     // [members, vocab]: of those in drawn_
  std::vector<Member*> drawn_;  // those with a pending token, then those that have joined
  std::vector<DrawRow> draws_;
  std::vector<int32_t> ids_;
  std::vector<Sequence*> sequences_;
};

}  // namespace pith

#endif  // PITH_GENERATE_DECODE_H_
