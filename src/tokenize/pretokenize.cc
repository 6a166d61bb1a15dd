#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenize/pretokenize.h"

#include <pcre2.h>

#include <array>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "tokenize/unicode.h"

namespace pith {
namespace {

constexpr std::array<CharClass, 128> MakeAsciiClasses() {
  std::array<CharClass, 128> classes{};
  for (int c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= 9 && c <= 13);
    if (letter) classes[c] = CharClass::kLetter;
    if (c >= '0' && c <= '9') classes[c] = CharClass::kNumber;
    if (space) classes[c] = CharClass::kSpace;
  }
  return classes;
}

constexpr std::array<CharClass, 128> kAsciiClasses = MakeAsciiClasses();

struct ClassedChar {
  CharClass char_class;
  int length;
};

inline ClassedChar Peek(const char* p) {
  const auto byte = static_cast<uint8_t>(*p);
  if (byte < 0x80) return {kAsciiClasses[byte], 1};
  const CodePoint c = DecodeUtf8(p);
  return {ClassOf(c.value), c.length};
}

// The end of the run of `wanted` at `p`.
inline const char* SkipRun(const char* p, const char* end, CharClass wanted) {
  while (p < end) {
    const ClassedChar c = Peek(p);
    if (c.char_class != wanted) break;
    p += c.length;
  }
  return p;
}

// Bytes of the contraction at the front of `text`, 0 where there is none.
size_t Contraction(std::string_view text) {
  for (const std::string_view suffix : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(suffix)) return suffix.size();
  }
  return 0;
}

std::string Pcre2Message(int code) {
  std::array<PCRE2_UCHAR8, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

size_t FirstGpt2Word(std::string_view text) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  if (*begin == '\'') {
    if (const size_t length = Contraction(text); length != 0) return length;
  }
  const char* start = begin;
  ClassedChar first = Peek(start);
  if (*start == ' ' && start + 1 < end) {
    const ClassedChar second = Peek(start + 1);
    if (second.char_class != CharClass::kSpace) {
      ++start;
      first = second;
    }
  }
  const char* const stop = SkipRun(start + first.length, end, first.char_class);
  if (first.char_class != CharClass::kSpace || stop == end) return stop - begin;
  // \s+(?!\S) leaves the last blank to the next word, but one blank alone is \s+.
  const char* const last = stop - DecodeUtf8Before(stop).length;
  return (last == begin ? stop : last) - begin;
}

struct SplitRegex::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

SplitRegex::SplitRegex(const std::string& pattern, std::string source)
    : source_(std::move(source)) {
  auto code = std::make_shared<Code>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  code->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  Require(code->code != nullptr, ErrorCode::kCorruptData, source_,
          ": pre_tokenizer.pattern.Regex: ", Pcre2Message(error), " at offset ", offset);
  // Without JIT (an unsupported machine) the interpreter gives the same matches.
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);
  code_ = std::move(code);
}

void SplitRegex::Split(std::string_view text,
                       const std::function<void(std::string_view)>& piece) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(code_->code, nullptr), &pcre2_match_data_free);
  const auto emit = [&](size_t begin, size_t end) {
    if (begin < end) piece(text.substr(begin, end - begin));
  };
  size_t done = 0;
  for (size_t from = 0; from < text.size();) {
    const auto search = [&](uint32_t options) {
      return pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                         options | PCRE2_NO_UTF_CHECK, match.get(), nullptr);
    };
    int result = search(0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = search(PCRE2_NO_JIT);
    if (result == PCRE2_ERROR_NOMATCH) break;
    Require(result > 0, ErrorCode::kUnsupported, source_,
            ": pre_tokenizer.pattern.Regex: ", Pcre2Message(result));
    const PCRE2_SIZE* const span = pcre2_get_ovector_pointer(match.get());
    Require(span[0] <= span[1] && span[0] >= done, ErrorCode::kUnsupported, source_,
            ": pre_tokenizer.pattern.Regex: a match that starts before its search (\\K)");
    emit(done, span[0]);
    emit(span[0], span[1]);
    done = from = span[1];
    if (span[0] == span[1] && from < text.size()) from += DecodeUtf8(text.data() + from).length;
  }
  emit(done, text.size());
}

}  // namespace pith
