// Why a file of lines that only grows.
//
// An evaluation takes hours and ends in the middle: by Ctrl-C, by a full disk, by a machine that
// goes away. What was scored must not be scored again, and what is read back must give the figures
// to the last bit. So each item becomes one line when it is done, appended to a file of which no
// byte is ever changed. Whatever happens, all lines but the last are whole, and a last one without
// its end was never counted: it is cut off when the file is opened again.
//
// A line is worth something only beside lines that were made alike. The first line therefore holds
// a fingerprint of all that the figures depend on, and a run that differs in any of it is refused
// with the name of what differs, instead of mixing two runs in one table. An item carries a
// checksum of the tokens that were scored as well, since its text may change behind its name.
//
// One process writes to a file and holds a lock on it. Where many work on one evaluation, each has
// a file of its own and reads the others', so nobody waits and nothing needs a server. Then two may
// have scored the same item; both got the same figures, and the first that is read counts.
#include "eval/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/file.h"

namespace pith {
namespace {

constexpr char kFormat[] = "pith eval journal 2";
// Of one item: sums over as many items as memory holds stay in int64_t.
constexpr int64_t kMost = int64_t{1} << 40;

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

double Seconds(const JsonReader& reader) {
  const double value = Finite(reader, "seconds");
  if (value < 0) reader.Fail("seconds", "at least 0");
  return value;
}

std::vector<Share> ReadShares(const JsonReader& reader) {
  const Json& list = reader.Field("shares");
  const char* expected = "a list of pairs of finite numbers, the second at least 0";
  if (!list.is_array()) reader.Fail("shares", expected);
  std::vector<Share> shares;
  for (const Json& pair : list) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_number()) {
      reader.Fail("shares", expected);
    }
    shares.push_back({.sum = pair[0].get<double>(), .count = pair[1].get<double>()});
    const Share& share = shares.back();
    if (!std::isfinite(share.sum) || !std::isfinite(share.count) || share.count < 0) {
      reader.Fail("shares", expected);
    }
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
                     .saved_tokens = Finite(reader, "saved_tokens"),
                     .context_tokens = reader.Int("context_tokens", 0, kMost),
                     .scored_labels = reader.Int("scored_labels", 0, kMost),
                     .seconds = Seconds(reader)};
  if (reader.Has("peak_memory")) entry.peak_memory = reader.Int("peak_memory", 0, kMost);
  return entry;
}

// One line. Paths, and what is named after them, need not be UTF-8 as JSON must.
std::string Line(const OrderedJson& json, const std::filesystem::path& path) {
  try {
    return json.dump() + "\n";
  } catch (const OrderedJson::exception&) {
    constexpr auto kReplace = OrderedJson::error_handler_t::replace;
    Throw(ErrorCode::kInvalidArgument, path.string(),
          ": a name is not UTF-8: ", Excerpt(json.dump(-1, ' ', false, kReplace), 400));
  }
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
  json["saved_tokens"] = entry.saved_tokens;
  json["context_tokens"] = entry.context_tokens;
  json["scored_labels"] = entry.scored_labels;
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
    : path_(std::move(path)),
      fingerprint_(fingerprint),
      header_(Line({{"format", kFormat}, {"fingerprint", fingerprint}}, path_)) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) ThrowErrno(path_, "open");
  try {
    Require(::flock(fd_, LOCK_EX | LOCK_NB) == 0, ErrorCode::kIo, path_.string(),
            ": another run is writing to it");
    if (fresh && ::ftruncate(fd_, 0) != 0) ThrowErrno(path_, "empty");
    Read();
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

Journal::~Journal() { ::close(fd_); }

void Journal::Read() {
  const std::string text = ReadFile(path_);
  ReadLines(text, path_);
  // Only now: a file that is no journal stays as it is.
  const size_t whole = text.rfind('\n') + 1;  // npos + 1 = 0
  if (whole < text.size() && ::ftruncate(fd_, static_cast<off_t>(whole)) != 0) {
    ThrowErrno(path_, "cut off the unfinished last line");
  }
  if (whole == 0) Write(header_);
}

void Journal::ReadOther(const std::filesystem::path& path) {
  try {
    ReadLines(ReadFile(path), path);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
  }
}

void Journal::ReadLines(std::string_view text, const std::filesystem::path& path) {
  const size_t whole = text.rfind('\n') + 1;
  Require(whole > 0 || header_.starts_with(text), ErrorCode::kCorruptData, path.string(),
          ":1: got a line without an end, expected a journal of this run");
  int64_t line = 0;
  for (size_t at = 0; at < whole;) {
    const size_t end = text.find('\n', at);
    const std::string source = StrCat(path.string(), ":", ++line);
    const Json json = ParseJson(text.substr(at, end - at), source);
    if (line == 1) {
      CheckFingerprint(json, fingerprint_, path.string());
    } else {
      Insert(ReadEntry(json, source));
    }
    at = end + 1;
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
  for (const JournalEntry& entry : entries) lines += Line(ToJson(entry), path_);
  Write(lines);
  for (const JournalEntry& entry : entries) Insert(entry);
}

void Journal::Sync() const {
  if (::fsync(fd_) != 0) ThrowErrno(path_, "write");
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
