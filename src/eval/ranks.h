// Several processes that share one evaluation: each rank appends to a journal of its own in a
// common directory and reads those of all, also of ranks that an earlier run had (docs/scaling.md).
#ifndef PITH_EVAL_RANKS_H_
#define PITH_EVAL_RANKS_H_

#include <filesystem>
#include <memory>
#include <vector>

#include "core/json.h"
#include "eval/journal.h"

namespace pith {

// "journal.jsonl" of rank 0, "journal.R.jsonl" of the others.
std::filesystem::path JournalPath(const std::filesystem::path& directory, int rank);

// The journals of ranks 1 and up that are there. Throws kIo.
std::vector<std::filesystem::path> OtherJournals(const std::filesystem::path& directory);

// Rank 0 alone, with its own journal open, whose lock keeps other runs out. Throws kIo.
void RemoveOtherJournals(const std::filesystem::path& directory);

// A rank's own journal. Rank 0 opens its own first, and alone: with `fresh`, which is its to say,
// it empties it and removes the others'. Throws as Journal does.
std::unique_ptr<Journal> OpenJournal(const std::filesystem::path& directory,
                                     const OrderedJson& fingerprint, int rank, bool fresh);

// Reads what all ranks have written so far. Throws as Journal::ReadOther does.
void ReadAllJournals(const std::filesystem::path& directory, Journal& journal);

}  // namespace pith

#endif  // PITH_EVAL_RANKS_H_
