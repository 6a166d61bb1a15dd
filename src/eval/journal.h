// The journal of an evaluation: one line for each item that was scored, so that an interrupted run
// goes on where it stopped (docs/formats/eval.md).
#ifndef PITH_EVAL_JOURNAL_H_
#define PITH_EVAL_JOURNAL_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "core/json.h"
#include "eval/metric.h"

namespace pith {

// One item scored under one reduction: all that the figures of a row are made from.
struct JournalEntry {
  std::string task;
  std::string method;                  // canonical spelling
  std::string item;                    // TaskItem::id
  uint64_t checksum = 0;               // of what was scored: an item may change behind its id
  std::vector<Share> shares;           // one per metric of the task
  int64_t contexts = 0;                // read for this item
  double realised = 0;                 // sum of their realised reductions
  double saved_tokens = 0;             // sum of realised reduction × tokens of the context
  int64_t context_tokens = 0;          // of all of them
  int64_t scored_labels = 0;           // continuation tokens that were scored
  double seconds = 0;                  // wall clock of reading them
  std::optional<int64_t> peak_memory;  // bytes resident while it was scored
};

// An append-only file of JSON lines. The first one holds a fingerprint: a flat object of whatever
// the numbers depend on. Doubles are written so that they read back to the last bit.
class Journal {
 public:
  // Opens or creates `path` and reads what is there, unless `fresh`, which empties it. A last line
  // without its end, as a crash leaves it, is dropped from the file. Throws kInvalidArgument naming
  // the first field in which the fingerprints differ or hold no UTF-8, kCorruptData naming the line
  // that is none of a journal, kIo where another process writes to it.
  Journal(std::filesystem::path path, const OrderedJson& fingerprint, bool fresh = false);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Also finds the entries of another journal of the same fingerprint, whose file stays as it is:
  // another process may be writing to it. A file that is gone holds none. Throws as opening does.
  void ReadOther(const std::filesystem::path& path);

  // Null where the item was not scored yet. Valid as long as the journal.
  const JournalEntry* Find(const std::string& task, const std::string& method,
                           const std::string& item) const;

  // Throws kIo, kCorruptData for figures that are not finite, and kInvalidArgument for names that
  // are not UTF-8. What was appended before stays.
  void Append(std::span<const JournalEntry> entries);

  // Returns once the file's system has it all, for other machines to read. Throws kIo.
  void Sync() const;

  const std::filesystem::path& path() const { return path_; }
  size_t size() const { return entries_.size(); }  // those of other journals included

 private:
  void Read();
  // Whole lines, the header first.
  void ReadLines(std::string_view text, const std::filesystem::path& path);
  void Write(std::string_view text);
  void Insert(const JournalEntry& entry);

  std::filesystem::path path_;
  OrderedJson fingerprint_;
  std::string header_;  // the first line
  int fd_ = -1;
  std::map<std::tuple<std::string, std::string, std::string>, JournalEntry> entries_;
};

}  // namespace pith

#endif  // PITH_EVAL_JOURNAL_H_
