// The decode loop: from the logits after a prompt to text.
#ifndef PITH_GENERATE_GENERATE_H_
#define PITH_GENERATE_GENERATE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "core/exec.h"
#include "model/model.h"
#include "model/state.h"
#include "model/workspace.h"
#include "pith/options.h"
#include "pith/results.h"
#include "tokenize/tokenizer.h"

namespace pith {

struct Decoder {
  const Model& model;
  Exec exec;
  const Tokenizer& tokenizer;
  std::vector<int32_t> end_of_text;  // tokens that end the output
};

// Throws kInvalidArgument for an option out of range, as Decode would after the prompt was read.
void CheckGenerateOptions(const GenerateOptions& options, int64_t vocab_size);

// Continues a text whose next-token logits are `logits` [vocab] (overwritten). `text` is what the
// repetition penalty has seen. Reads every token it samples into `state` but the last, which stays
// state.pending. Fills ids, text, finish and decode_seconds of the result. Raising the cancel flag
// ends it with finish "cancelled"; nothing is lost.
GenerateResult Decode(const Decoder& decoder, const GenerateOptions& options,
                      std::span<const int32_t> text, std::vector<float> logits,
                      SequenceState& state, Workspace& workspace);

}  // namespace pith

#endif  // PITH_GENERATE_GENERATE_H_
