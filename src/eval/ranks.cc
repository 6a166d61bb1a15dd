#include "eval/ranks.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "core/error.h"

namespace pith {
namespace {

// "journal.R.jsonl", R a number without leading zeros.
bool IsOther(std::string_view name) {
  constexpr std::string_view kBegin = "journal.";
  constexpr std::string_view kEnd = ".jsonl";
  if (name.size() <= kBegin.size() + kEnd.size()) return false;
  if (!name.starts_with(kBegin) || !name.ends_with(kEnd)) return false;
  name.remove_prefix(kBegin.size());
  name.remove_suffix(kEnd.size());
  return name[0] != '0' && name.find_first_not_of("0123456789") == name.npos;
}

}  // namespace

std::filesystem::path JournalPath(const std::filesystem::path& directory, int rank) {
  return directory / (rank == 0 ? "journal.jsonl" : StrCat("journal.", rank, ".jsonl"));
}

std::vector<std::filesystem::path> OtherJournals(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  std::filesystem::directory_iterator at(directory, error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    if (IsOther(at->path().filename().string())) paths.push_back(at->path());
  }
  Require(!error, ErrorCode::kIo, directory.string(), ": cannot read: ", error.message());
  std::ranges::sort(paths);
  return paths;
}

void RemoveOtherJournals(const std::filesystem::path& directory) {
  for (const std::filesystem::path& path : OtherJournals(directory)) {
    std::error_code error;
    std::filesystem::remove(path, error);
    Require(!error, ErrorCode::kIo, path.string(), ": cannot remove: ", error.message());
  }
}

std::unique_ptr<Journal> OpenJournal(const std::filesystem::path& directory,
                                     const OrderedJson& fingerprint, int rank, bool fresh) {
  const bool first = rank == 0;
  auto journal =
      std::make_unique<Journal>(JournalPath(directory, rank), fingerprint, first && fresh);
  if (first && fresh) RemoveOtherJournals(directory);
  return journal;
}

void ReadAllJournals(const std::filesystem::path& directory, Journal& journal) {
  std::vector<std::filesystem::path> paths = OtherJournals(directory);
  paths.push_back(JournalPath(directory, 0));
  for (const std::filesystem::path& path : paths) {
    if (path.filename() != journal.path().filename()) journal.ReadOther(path);
  }
}

}  // namespace pith
