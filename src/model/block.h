// One layer over the packed rows of a chunk.
#ifndef PITH_MODEL_BLOCK_H_
#define PITH_MODEL_BLOCK_H_

#include <span>
#include <vector>

#include "core/exec.h"
#include "model/model.h"
#include "model/state.h"
#include "model/workspace.h"

namespace pith {

// How a block reads its rows: by matrix products over many, or one row a sequence.
enum class BlockMode : uint8_t { kPrefill, kStep };

// The rows of one chunk: packed pieces of sequences, and where each sequence's memory is.
struct BlockRows {
  int64_t rows = 0;
  std::vector<Segment> segments;
  std::vector<SequenceState*> states;  // one per segment
  // The rows whose mixer output is wanted, ascending; null: all. The others only write state. The
  // wanted rows' bits are the same either way.
  const std::vector<int64_t>* wanted = nullptr;

  int64_t wanted_rows() const {
    return wanted == nullptr ? rows : static_cast<int64_t>(wanted->size());
  }
};

struct BlockContext {
  const Model& model;
  Exec exec;
  BlockMode mode;
  int64_t ssd_chunk;
  Workspace& ws;
  int64_t chunk_rows = 1024;  // rows in flight where a layer's work is cut: bounds the scratch
};

// Layer `layer`: residual x ← x + h of the block before (h is skipped where `first`), then
// h ← mixer(norm(x)), states updated. Reads and writes ws.x and ws.h; ws.y and ws.gated keep the
// mixer's inner activations until the next block. Where only some rows are wanted, the first rows
// of ws.h hold theirs, and ws.x still holds all.
void Block(const BlockContext& context, const BlockRows& rows, int64_t layer, bool first);

// The mixers, as in the papers: ws.normed → ws.h.
void Mamba1Mixer(const BlockContext& context, const BlockRows& rows, int64_t layer);
void Mamba2Mixer(const BlockContext& context, const BlockRows& rows, int64_t layer);

// Mamba-1's part that carries state: ws.normed → x, Δ, B, C → convolution and scan. `output`: y is
// wanted in ws.y; else C is not computed and only the states change.
void ScanMamba1(const BlockContext& context, const BlockRows& rows, int64_t layer, bool output);

}  // namespace pith

#endif  // PITH_MODEL_BLOCK_H_
