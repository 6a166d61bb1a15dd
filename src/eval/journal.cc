#include "eval/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/file.h"

namespace pith {
namespace {

constexpr char kFormat[] = "pith eval journal 1";
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

[[noreturn]] void ThrowErrno(const std::filesystem::path& path, const char* action) {
  Throw(ErrorCode::kIo, path.string(), ": cannot ", action, ": ", std::strerror(errno));
}

std::string Hex(uint64_t value) {
  char buffer[16];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value, 16);
  PITH_CHECK(error == std::errc());
  return {buffer, end};
}

uint64_t FromHex(const JsonReader& reader, const char* field) {
  const std::string text = reader.String(field);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) {
    reader.Fail(field, "hexadecimal digits");
  }
  return value;
}

double Finite(const JsonReader& reader, const char* field) {
  reader.Field(field);
  const double value = reader.Number(field, 0);
  if (!std::isfinite(value)) reader.Fail(field, "a finite number");
  return value;
}

std::vector<Share> ReadShares(const JsonReader& reader) {
  const Json& list = reader.Field("shares");
  const char* expected = "a list of pairs of numbers";
  if (!list.is_array()) reader.Fail("shares", expected);
  std::vector<Share> shares;
  for (const Json& pair : list) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_number()) {
      reader.Fail("shares", expected);
    }
    shares.push_back({.sum = pair[0].get<double>(), .count = pair[1].get<double>()});
  }
  return shares;
}

JournalEntry ReadEntry(const Json& json, const std::string& source) {
  const JsonReader reader(json, source);
  JournalEntry entry{.task = reader.String("task"),
                     .method = reader.String("method"),
                     .item = reader.String("item"),
                     .checksum = FromHex(reader, "checksum"),
                     .shares = ReadShares(reader),
                     .contexts = reader.Int("contexts", 0, kMost),
                     .realised = Finite(reader, "realised"),
                     .context_tokens = reader.Int("context_tokens", 0, kMost),
                     .seconds = Finite(reader, "seconds")};
  if (reader.Has("peak_memory")) entry.peak_memory = reader.Int("peak_memory", 0, kMost);
  return entry;
}

// JSON knows no infinities: a share that is one is refused before it gets here.
OrderedJson ToJson(const JournalEntry& entry) {
  OrderedJson json = {{"task", entry.task},
                      {"method", entry.method},
                      {"item", entry.item},
                      {"checksum", Hex(entry.checksum)}};
  OrderedJson& shares = json["shares"] = OrderedJson::array();
  for (const Share& share : entry.shares) {
    Require(std::isfinite(share.sum) && std::isfinite(share.count), ErrorCode::kCorruptData,
            entry.task, ", item ", entry.item, ", under ", entry.method,
            ": the model's scores are not finite numbers");
    shares.push_back(OrderedJson::array({share.sum, share.count}));
  }
  json["contexts"] = entry.contexts;
  json["realised"] = entry.realised;
  json["context_tokens"] = entry.context_tokens;
  json["seconds"] = entry.seconds;
  json["peak_memory"] = entry.peak_memory ? OrderedJson(*entry.peak_memory) : OrderedJson(nullptr);
  return json;
}

void CheckFingerprint(const Json& header, const OrderedJson& expected, const std::string& source) {
  const JsonReader reader(header, source);
  if (reader.String("format") != kFormat) reader.Fail("format", StrCat("\"", kFormat, "\""));
  const Json& found = reader.Field("fingerprint");
  const Json wanted = expected;
  if (!found.is_object()) reader.Fail("fingerprint", "an object");
  for (const Json& fields : {wanted, found}) {
    for (const auto& [key, ignored] : fields.items()) {
      const std::string ours = wanted.contains(key) ? wanted[key].dump() : "nothing";
      const std::string theirs = found.contains(key) ? found[key].dump() : "nothing";
      Require(ours == theirs, ErrorCode::kInvalidArgument, source,
              ": the journal is of another run: ", key, ": got ", ours, ", the journal has ",
              theirs, "; start a fresh one, or use another directory");
    }
  }
}

}  // namespace

Journal::Journal(std::filesystem::path path, const OrderedJson& fingerprint, bool fresh)
    : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) ThrowErrno(path_, "open");
  try {
    Require(::flock(fd_, LOCK_EX | LOCK_NB) == 0, ErrorCode::kIo, path_.string(),
            ": another run is writing to it");
    if (fresh && ::ftruncate(fd_, 0) != 0) ThrowErrno(path_, "empty");
    Read(fingerprint);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

Journal::~Journal() { ::close(fd_); }

void Journal::Read(const OrderedJson& fingerprint) {
  const std::string text = ReadFile(path_);
  const size_t whole = text.rfind('\n') + 1;  // npos + 1 = 0
  if (whole == 0) {
    if (::ftruncate(fd_, 0) != 0) ThrowErrno(path_, "write");
    Write(OrderedJson{{"format", kFormat}, {"fingerprint", fingerprint}}.dump() + "\n");
    return;
  }
  int64_t line = 0;
  for (size_t at = 0; at < whole;) {
    const size_t end = text.find('\n', at);
    const std::string source = StrCat(path_.string(), ":", ++line);
    const Json json = ParseJson(std::string_view(text).substr(at, end - at), source);
    if (line == 1) {
      CheckFingerprint(json, fingerprint, path_.string());
    } else {
      Insert(ReadEntry(json, source));
    }
    at = end + 1;
  }
  // Only now: a file that is no journal stays as it is.
  if (whole < text.size() && ::ftruncate(fd_, static_cast<off_t>(whole)) != 0) {
    ThrowErrno(path_, "cut off the unfinished last line");
  }
}

void Journal::Insert(const JournalEntry& entry) {
  std::tuple key(entry.task, entry.method, entry.item);
  entries_.try_emplace(std::move(key), entry);
}

const JournalEntry* Journal::Find(const std::string& task, const std::string& method,
                                  const std::string& item) const {
  const auto it = entries_.find({task, method, item});
  return it == entries_.end() ? nullptr : &it->second;
}

void Journal::Append(std::span<const JournalEntry> entries) {
  std::string lines;
  for (const JournalEntry& entry : entries) lines += ToJson(entry).dump() + "\n";
  Write(lines);
  for (const JournalEntry& entry : entries) Insert(entry);
}

void Journal::Write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(fd_, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) ThrowErrno(path_, "write");
    text.remove_prefix(static_cast<size_t>(done));
  }
}

}  // namespace pith
