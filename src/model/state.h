// A sequence's memory on disk: docs/formats/state.md.
#ifndef PITH_MODEL_STATE_H_
#define PITH_MODEL_STATE_H_

#include <filesystem>

#include "model/model.h"
#include "model/state_pool.h"

namespace pith {

// The file carries the model's fingerprint and a checksum of everything. Writes a temporary file
// and renames it.
void SaveState(const Model& model, const StatePool& pool, const Sequence& sequence,
               const std::filesystem::path& path);

// Fills the sequence's slot. Throws kCorruptData for a damaged file and kInvalidArgument for a
// state of another model; then the sequence is as it was.
void LoadState(const Model& model, const std::filesystem::path& path, StatePool& pool,
               Sequence& sequence);

}  // namespace pith

#endif  // PITH_MODEL_STATE_H_
