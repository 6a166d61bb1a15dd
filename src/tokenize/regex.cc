// A pattern may come from a file that wants to keep us busy for ever. Oniguruma counts the times
// that it backtracks, but for each search anew, so a limit that honest patterns never reach still
// allows hours over a long text. Therefore a search first gets a low limit. Where that does not do,
// it is repeated with the limit that the `tokenizers` package has, but only so many times a text.
#include "tokenize/regex.h"

#include <oniguruma.h>

#include <bitset>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/utf8.h"
#include "tokenize/unicode.h"
#include "tokenize/unicode_tables.h"

namespace pith {
namespace {

constexpr unsigned long kLowRetries = 8192;         // a search this short costs some microseconds
constexpr unsigned long kHighRetries = 10'000'000;  // Oniguruma's default, a tenth of a second
constexpr size_t kSearchesWithHighLimit = 16;       // and one more for each 2 KiB of text
constexpr unsigned int kMaxStackEntries = 1u << 25;

const UChar* Bytes(const char* p) { return reinterpret_cast<const UChar*>(p); }

// The blocks of 256 code points that hold one with a stand-in.
const std::bitset<0x1100>& BlocksWithStandIns() {
  static const std::bitset<0x1100> blocks = [] {
    std::bitset<0x1100> set;
    for (const StandInRange& range : kStandIns) {
      for (int32_t block = range.first >> 8; block <= range.last >> 8; ++block) set.set(block);
    }
    return set;
  }();
  return blocks;
}

// Calls `visit(position, code point, stand-in)` on each code point of `text` that has a stand-in.
template <class Visit>
void ForEachNewCodePoint(std::string_view text, const Visit& visit) {
  const auto& blocks = BlocksWithStandIns();
  for (size_t i = 0; i < text.size();) {
    if (static_cast<uint8_t>(text[i]) < 0xE0) {  // all are above U+0800; continuations come along
      ++i;
      continue;
    }
    const CodePoint c = DecodeUtf8(text.data() + i);
    if (blocks[c.value >> 8] && StandIn(c.value) != c.value) visit(i, StandIn(c.value));
    i += c.length;
  }
}

// `text` itself, or a copy in `buffer` with stand-ins for newer characters.
std::string_view WithStandIns(std::string_view text, std::string& buffer) {
  bool copied = false;
  std::string stand_in;
  ForEachNewCodePoint(text, [&](size_t at, int32_t c) {
    if (!copied) buffer = text;
    copied = true;
    stand_in.clear();
    AppendUtf8(c, stand_in);
    buffer.replace(at, stand_in.size(), stand_in);
  });
  return copied ? std::string_view(buffer) : text;
}

bool HasNewCodePoint(std::string_view text) {
  bool found = false;
  ForEachNewCodePoint(text, [&](size_t, int32_t) { found = true; });
  return found;
}

// Versions from 6.9.9 on count symbols as [:punct:], and so does the package's; older ones do not.
std::string SpellOutPunct(std::string pattern) {
  const std::pair<std::string_view, std::string_view> spellings[] = {
      {"[:punct:]", R"(\p{P}\p{S})"}, {"[:^punct:]", R"([^\p{P}\p{S}])"}};
  for (const auto& [name, meaning] : spellings) {
    for (size_t at = pattern.find(name); at != pattern.npos; at = pattern.find(name, at + 1)) {
      if (at > 0 && pattern[at - 1] != '\\') pattern.replace(at, name.size(), meaning);
    }
  }
  return pattern;
}

std::string Message(int code, OnigErrorInfo* info = nullptr) {
  UChar text[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length = info != nullptr && info->par != nullptr
                         ? onig_error_code_to_str(text, code, info)
                         : onig_error_code_to_str(text, code);
  const std::string message(reinterpret_cast<const char*>(text), length);
  const std::string quoted = Shown(Json(ReplaceInvalidUtf8(message)));  // may quote the pattern
  return quoted.substr(1, quoted.size() - 2);
}

template <class T, void (*free_it)(T*)>
struct Deleter {
  void operator()(T* p) const { free_it(p); }
};
void FreeRegion(OnigRegion* region) { onig_region_free(region, 1); }
using Region = std::unique_ptr<OnigRegion, Deleter<OnigRegion, FreeRegion>>;
using Limits = std::unique_ptr<OnigMatchParam, Deleter<OnigMatchParam, onig_free_match_param>>;

Limits MakeLimits(unsigned long retries) {
  Limits limits(onig_new_match_param());
  PITH_CHECK(limits != nullptr);
  onig_initialize_match_param(limits.get());
  onig_set_match_stack_limit_size_of_match_param(limits.get(), kMaxStackEntries);
  onig_set_retry_limit_in_match_of_match_param(limits.get(), retries);
  return limits;
}

// Searches one text from left to right, within the limits.
class Searcher {
 public:
  Searcher(regex_t* code, const std::string& where, std::string_view text)
      : code_(code),
        where_(where),
        text_(text),
        region_(onig_region_new()),
        low_(MakeLimits(kLowRetries)),
        high_left_(kSearchesWithHighLimit + text.size() / 2048) {
    PITH_CHECK(region_ != nullptr);
  }

  // The first match at or after `from`; false where there is none.
  bool Find(size_t from, Span& match) {
    int result = Search(from, low_);
    if (result == ONIGERR_RETRY_LIMIT_IN_MATCH_OVER && high_left_ > 0) {
      --high_left_;
      if (high_ == nullptr) high_ = MakeLimits(kHighRetries);
      result = Search(from, high_);
    }
    if (result == ONIG_MISMATCH) return false;
    Require(result >= 0, ErrorCode::kUnsupported, where_, ": on this text: ", Message(result));
    match = {static_cast<size_t>(region_->beg[0]), static_cast<size_t>(region_->end[0]), true};
    Require(from <= match.begin && match.begin <= match.end, ErrorCode::kUnsupported, where_,
            ": a match that starts before its search");
    return true;
  }

 private:
  int Search(size_t from, const Limits& limits) {
    const UChar* const begin = Bytes(text_.data());
    const UChar* const end = begin + text_.size();
    return onig_search_with_param(code_, begin, end, begin + from, end, region_.get(),
                                  ONIG_OPTION_NONE, limits.get());
  }

  regex_t* code_;
  const std::string& where_;
  std::string_view text_;
  Region region_;
  Limits low_, high_;
  size_t high_left_;
};

}  // namespace

struct Regex::Code {
  regex_t* regex = nullptr;
  ~Code() { onig_free(regex); }
};

Regex::Regex(const std::string& pattern, std::string where)
    : Regex(SpellOutPunct(pattern), std::move(where), !HasNewCodePoint(pattern)) {}

Regex Regex::Literal(std::string_view text, std::string where) {
  std::string pattern;
  for (const char c : text) {
    if (static_cast<uint8_t>(c) < 0x80 && IsPunctuation(c)) pattern.push_back('\\');
    pattern.push_back(c);
  }
  return Regex(pattern, std::move(where), /*stand_ins=*/false);
}

Regex::Regex(const std::string& pattern, std::string where, bool stand_ins)
    : where_(std::move(where)), stand_ins_(stand_ins) {
  static const int ready = [] {
    OnigEncoding utf8[] = {ONIG_ENCODING_UTF8};
    return onig_initialize(utf8, 1);
  }();
  PITH_CHECK(ready == ONIG_NORMAL);
  auto code = std::make_shared<Code>();
  OnigErrorInfo info{};
  const UChar* const begin = Bytes(pattern.data());
  const int result = onig_new(&code->regex, begin, begin + pattern.size(), ONIG_OPTION_NONE,
                              ONIG_ENCODING_UTF8, ONIG_SYNTAX_RUBY, &info);
  Require(result == ONIG_NORMAL, ErrorCode::kCorruptData, where_, ": ", Message(result, &info),
          ", in ", Shown(Json(pattern)));
  code_ = std::move(code);
}

void Regex::ForEachSpan(std::string_view text, const std::function<void(Span)>& visit) const {
  std::string buffer;
  if (stand_ins_) text = WithStandIns(text, buffer);
  Searcher searcher(code_->regex, where_, text);
  size_t done = 0;       // the end of the last match
  bool matched = false;  // whether there was one
  Span match{};
  for (size_t from = 0; from <= text.size() && searcher.Find(from, match);) {
    // An empty match right after the last one would go on for ever, and is none.
    if (match.begin == match.end && matched && match.end == done) {
      from += from < text.size() ? DecodeUtf8(text.data() + from).length : 1;
      continue;
    }
    if (done < match.begin) visit({done, match.begin, false});
    visit(match);
    matched = true;
    done = from = match.end;
  }
  if (done < text.size()) visit({done, text.size(), false});
}

Regex ReadPattern(const Component& pattern) {
  pattern.Only({"Regex", "String"});
  const bool literal = pattern->Has("String");
  if (literal == pattern->Has("Regex")) pattern->Fail("Regex", "either \"Regex\" or \"String\"");
  if (literal) return Regex::Literal(pattern.Setting("String"), pattern.Where("String"));
  return Regex(pattern.Setting("Regex"), pattern.Where("Regex"));
}

}  // namespace pith
