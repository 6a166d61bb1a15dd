#include "tokenize/pre_tokenizer.h"

#include <string>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "tokenize/byte_level.h"
#include "tokenize/gpt2_words.h"
#include "tokenize/regex.h"
#include "tokenize/split.h"
#include "tokenize/unicode.h"

namespace pith {
namespace {

using Made = std::unique_ptr<const PreTokenizer>;

// Hands on what lies within `piece`, knowing which part starts the text.
Splitter::Piece PartsOf(const Piece& piece, const PreTokenizer::Sink& sink) {
  return [&piece, &sink](std::string_view part) {
    sink({part, piece.starts_text && part.data() == piece.text.data()});
  };
}

class ByteLevel : public PreTokenizer {
 public:
  explicit ByteLevel(ByteLevelOptions options) : options_(options) {}
  void Cut(Piece piece, const Sink& sink) const override {
    std::string text;
    if (options_.add_prefix_space && !piece.text.starts_with(' ')) text = " ";
    text += piece.text;
    std::string characters;
    for (std::string_view rest = text; !rest.empty();) {
      const size_t length = options_.use_regex ? FirstGpt2Word(rest) : rest.size();
      characters.clear();
      for (const char byte : rest.substr(0, length)) {
        characters += ByteLevelChar(static_cast<uint8_t>(byte));
      }
      sink({characters, piece.starts_text && rest.data() == text.data()});
      rest.remove_prefix(length);
    }
  }

 private:
  ByteLevelOptions options_;
};

class Split : public PreTokenizer {
 public:
  Split(Regex regex, SplitBehavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}
  void Cut(Piece piece, const Sink& sink) const override {
    const Splitter::Piece parts = PartsOf(piece, sink);
    Splitter splitter(piece.text, behavior_, parts);
    regex_.ForEachSpan(piece.text, [&](Span span) {
      span.is_match ^= invert_;
      splitter.Add(span);
    });
    splitter.Finish();
  }

 private:
  Regex regex_;
  SplitBehavior behavior_;
  bool invert_;
};

// Cuts at the code points for which a predicate holds.
template <class Matches>
class CodePointSplit : public PreTokenizer {
 public:
  CodePointSplit(SplitBehavior behavior, Matches matches)
      : behavior_(behavior), matches_(std::move(matches)) {}
  void Cut(Piece piece, const Sink& sink) const override {
    SplitAtCodePoints(piece.text, behavior_, matches_, PartsOf(piece, sink));
  }

 private:
  SplitBehavior behavior_;
  Matches matches_;
};

template <class Matches>
Made MakeCodePointSplit(SplitBehavior behavior, Matches matches) {
  return std::make_unique<CodePointSplit<Matches>>(behavior, std::move(matches));
}

// Runs of word characters, and runs of what is neither that nor blank: \w+|[^\w\s]+ of UTS #18.
class Whitespace : public PreTokenizer {
 public:
  void Cut(Piece piece, const Sink& sink) const override {
    const auto kind = [](const char* p) {
      const int32_t c = DecodeUtf8(p).value;
      return IsWordChar(c) ? 1 : IsSpace(c) ? 0 : 2;
    };
    const Splitter::Piece emit = PartsOf(piece, sink);
    const char *p = piece.text.data(), *const end = p + piece.text.size();
    while (p < end) {
      const char* const begin = p;
      const int wanted = kind(p);
      while (p < end && kind(p) == wanted) p += DecodeUtf8(p).length;
      if (wanted != 0) emit({begin, p});
    }
  }
};

class Bert : public PreTokenizer {
 public:
  void Cut(Piece piece, const Sink& sink) const override {
    SplitAtCodePoints(piece.text, SplitBehavior::kRemoved, IsSpace, [&](std::string_view word) {
      SplitAtCodePoints(word, SplitBehavior::kIsolated, IsPunctuation, PartsOf(piece, sink));
    });
  }
};

class Metaspace : public PreTokenizer {
 public:
  Metaspace(std::string replacement, PrependScheme scheme, bool split)
      : replacement_(std::move(replacement)), scheme_(scheme), split_(split) {}
  void Cut(Piece piece, const Sink& sink) const override {
    std::string text;
    for (const char c : piece.text) {
      c == ' ' ? text += replacement_ : text.append(1, c);
    }
    const bool prepend = scheme_ == PrependScheme::kAlways ||
                         (scheme_ == PrependScheme::kFirst && piece.starts_text);
    if (prepend && !text.starts_with(replacement_)) text.insert(0, replacement_);
    const Piece whole{text, piece.starts_text};
    if (!split_) return sink(whole);
    const int32_t mark = DecodeUtf8(replacement_.data()).value;
    SplitAtCodePoints(
        text, SplitBehavior::kMergedWithNext, [&](int32_t c) { return c == mark; },
        PartsOf(whole, sink));
  }

 private:
  std::string replacement_;
  PrependScheme scheme_;
  bool split_;
};

ByteLevelOptions ReadByteLevel(const Component& json) {
  json.Only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  // The package's ByteLevel insists on add_prefix_space and takes use_regex for granted.
  json->Field("add_prefix_space");
  return {json->Bool("add_prefix_space", true), json->Bool("use_regex", true)};
}

Made MakeByteLevel(const Component& json) {
  return std::make_unique<ByteLevel>(ReadByteLevel(json));
}

Made MakeSplit(const Component& json) {
  json.Only({"type", "pattern", "behavior", "invert"});
  const Component pattern = json.Child("pattern");
  return std::make_unique<Split>(ReadPattern(pattern), ReadSplitBehavior(json, "behavior"),
                                 json->Bool("invert", false));
}

Made MakePunctuation(const Component& json) {
  json.Only({"type", "behavior"});
  const SplitBehavior behavior =
      json->Has("behavior") ? ReadSplitBehavior(json, "behavior") : SplitBehavior::kIsolated;
  return MakeCodePointSplit(behavior, IsPunctuation);
}

Made MakeDigits(const Component& json) {
  json.Only({"type", "individual_digits"});
  const bool individual = json->Bool("individual_digits", false);
  return MakeCodePointSplit(individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous,
                            IsNumeric);
}

Made MakeWhitespace(const Component& json) {
  json.Only({"type"});
  return std::make_unique<Whitespace>();
}

Made MakeWhitespaceSplit(const Component& json) {
  json.Only({"type"});
  return MakeCodePointSplit(SplitBehavior::kRemoved, IsSpace);
}

Made MakeCharDelimiterSplit(const Component& json) {
  json.Only({"type", "delimiter"});
  const int32_t delimiter = DecodeUtf8(json.Character("delimiter").data()).value;
  return MakeCodePointSplit(SplitBehavior::kRemoved,
                            [delimiter](int32_t c) { return c == delimiter; });
}

Made MakeBert(const Component& json) {
  json.Only({"type"});
  return std::make_unique<Bert>();
}

Made MakeMetaspace(const Component& json) {
  json.Only({"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
  return std::make_unique<Metaspace>(json.Character("replacement"), ReadPrependScheme(json),
                                     json->Bool("split", true));
}

constexpr ComponentType<Made> kTypes[] = {{"ByteLevel", MakeByteLevel},
                                          {"Split", MakeSplit},
                                          {"Punctuation", MakePunctuation},
                                          {"Digits", MakeDigits},
                                          {"Metaspace", MakeMetaspace},
                                          {"Whitespace", MakeWhitespace},
                                          {"WhitespaceSplit", MakeWhitespaceSplit},
                                          {"CharDelimiterSplit", MakeCharDelimiterSplit},
                                          {"BertPreTokenizer", MakeBert}};

}  // namespace

PrependScheme ReadPrependScheme(const Component& json) {
  const std::string scheme = json->String("prepend_scheme", "");
  const bool old_prefix = json->Bool("add_prefix_space", true);  // before there were schemes
  if (!old_prefix && !scheme.empty() && scheme != "never") {
    json->Fail("add_prefix_space", "true, as prepend_scheme says");
  }
  if (scheme == "never" || !old_prefix) return PrependScheme::kNever;
  if (scheme == "first") return PrependScheme::kFirst;
  if (!scheme.empty() && scheme != "always") {
    json.Unsupported("prepend_scheme", "\"always\", \"first\", \"never\"");
  }
  return PrependScheme::kAlways;
}

void PreTokenizers::SpellOutLast() {
  if (last) steps.push_back(std::make_unique<ByteLevel>(*last));
  last.reset();
}

PreTokenizers ReadPreTokenizers(const Component& pre_tokenizer) {
  PreTokenizers result;
  VisitSequence(pre_tokenizer, "pretokenizers", [&](const Component& json) {
    result.SpellOutLast();
    const std::string type = json.Type();
    if (type == "ByteLevel") {
      result.last = ReadByteLevel(json);
      result.byte_level = true;
      return;
    }
    if (type == "Metaspace") result.byte_level = false;  // writes characters of its own
    result.steps.push_back(MakeComponent<Made>(json, kTypes));
  });
  return result;
}

}  // namespace pith
