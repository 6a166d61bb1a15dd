#include "tokenize/decoder.h"

#include <charconv>
#include <memory>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "tokenize/byte_level.h"
#include "tokenize/pre_tokenizer.h"
#include "tokenize/regex.h"

namespace pith {
namespace {

// The byte of a token such as "<0xE9>", or -1.
int FallbackByte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int byte = -1;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  return error == std::errc() && end == token.data() + 5 ? byte : -1;
}

std::string Replaced(std::string_view text, const Regex& regex, std::string_view content) {
  std::string out;
  if (text.empty()) return out;
  regex.ForEachSpan(text, [&](Span span) {
    out += span.is_match ? content : text.substr(span.begin, span.end - span.begin);
  });
  return out;
}

// Each `mark` becomes a blank; those of the first token go where a prefix was put before the text.
std::string FromMetaspace(std::string_view text, std::string_view mark, bool drop) {
  std::string out;
  while (!text.empty()) {
    const size_t length = NextUtf8(text).length;
    const std::string_view character = text.substr(0, length);
    if (character != mark) out += character;
    if (character == mark && !drop) out += ' ';
    text.remove_prefix(length);
  }
  return out;
}

// Takes `character` from the front, at most `start` times, and from the back, at most `stop` times.
std::string Stripped(std::string_view text, std::string_view character, size_t start, size_t stop) {
  for (; start > 0 && text.starts_with(character); --start) text.remove_prefix(character.size());
  for (; stop > 0 && text.ends_with(character); --stop) text.remove_suffix(character.size());
  return std::string(text);
}

}  // namespace

TokenDecoder::TokenDecoder(const Component& decoder) {
  VisitSequence(decoder, "decoders", [this](const Component& json) { Add(json); });
}

void TokenDecoder::Add(const Component& json) {
  const std::string type = json.Type();
  if (type == "Strip") return AddStrip(json);
  if (type == "Fuse") {
    json.Only({"type"});
    fused_ = true;
    return;
  }
  constexpr std::string_view kKnown =
      R"("Sequence", "ByteLevel", "Metaspace", "Replace", "ByteFallback", "Fuse", "Strip")";
  Require(!fused_ || type == "ByteFallback", ErrorCode::kUnsupported, json.Where("type"), ": got ",
          Shown(Json(type)), " after \"Fuse\" or \"ByteLevel\", pith supports \"Strip\" there");
  if (type == "ByteLevel") {
    json.Only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    steps_.push_back([](Text& t) { t.bytes = ByteLevelDecode(t.bytes); });
    fused_ = true;  // the package joins what the tokens stand for
  } else if (type == "ByteFallback") {
    json.Only({"type"});
    if (fused_) return;  // a whole text is no byte
    steps_.push_back([](Text& t) {
      const int byte = FallbackByte(t.bytes);
      if (byte >= 0) t.bytes = static_cast<char>(byte);
      t.raw = byte >= 0x80;
    });
  } else if (type == "Replace") {
    json.Only({"type", "pattern", "content"});
    const auto regex = std::make_shared<const Regex>(ReadPattern(json.Child("pattern")));
    steps_.push_back([regex, content = json.Setting("content")](Text& t) {
      t.bytes = Replaced(t.bytes, *regex, content);
    });
  } else if (type == "Metaspace") {
    json.Only({"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
    const bool prefix = ReadPrependScheme(json) != PrependScheme::kNever;
    steps_.push_back([mark = json.Character("replacement"), prefix](Text& t) {
      t.bytes = FromMetaspace(t.bytes, mark, t.first && prefix);
    });
  } else {
    json.Unsupported("type", kKnown);
  }
}

void TokenDecoder::AddStrip(const Component& json) {
  json.Only({"type", "content", "start", "stop"});
  constexpr int64_t kMost = 1 << 20;
  const std::string character = json.Character("content");
  const auto start = static_cast<size_t>(json->Int("start", 0, kMost));
  const auto stop = static_cast<size_t>(json->Int("stop", 0, kMost));
  if (!fused_) {
    steps_.push_back([=](Text& t) { t.bytes = Stripped(t.bytes, character, start, stop); });
    return;
  }
  // The end of a text is not known before the last token.
  if (stop > 0) json.Unsupported("stop", "0 after \"Fuse\"");
  if (start > 0) front_strips_.push_back({character, start});
}

std::string TokenDecoder::Bytes(std::string_view token, bool first) const {
  Text text{std::string(token), first};
  for (const Step& step : steps_) {
    if (!text.raw) step(text);
  }
  return std::move(text.bytes);
}

void TokenDecoder::StripFront(FrontState& state, std::string& text) const {
  size_t done = 0;
  while (done < text.size() && state.strip < front_strips_.size()) {
    const FrontStrip& strip = front_strips_[state.strip];
    if (state.taken < strip.count &&
        std::string_view(text).substr(done).starts_with(strip.character)) {
      done += strip.character.size();
      ++state.taken;
    } else {
      state = {state.strip + 1, 0};
    }
  }
  text.erase(0, done);
}

}  // namespace pith
