#include "tokenize/normalizer.h"

#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "tokenize/byte_level.h"
#include "tokenize/normal_form.h"
#include "tokenize/regex.h"
#include "tokenize/unicode.h"

namespace pith {
namespace {

using Made = std::unique_ptr<const Normalizer>;

constexpr size_t kMaxNormalized = size_t{1} << 30;

void CheckSize(size_t bytes) {
  Require(bytes <= kMaxNormalized, ErrorCode::kUnsupported, "normalizer: the text has more than ",
          kMaxNormalized, " bytes when it is normalised");
}

class Form : public Normalizer {
 public:
  explicit Form(NormalForm form) : form_(form) {}
  std::string_view Apply(std::string_view text, std::string& buffer) const override {
    return Normalize(text, form_, buffer);
  }

 private:
  NormalForm form_;
};

// What becomes of each code point: `append(code point, out)`.
template <void (*append)(int32_t, std::string&)>
class CodePointMap : public Normalizer {
 public:
  std::string_view Apply(std::string_view text, std::string& buffer) const override {
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const CodePoint c = DecodeUtf8(p);
      append(c.value, buffer);
      p += c.length;
    }
    return buffer;
  }
};

void AppendUnlessMark(int32_t c, std::string& out) {
  if (!IsMark(c)) AppendUtf8(c, out);
}

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  std::string_view Apply(std::string_view text, std::string&) const override {
    while (left_ && !text.empty()) {
      const CodePoint c = DecodeUtf8(text.data());
      if (!IsSpace(c.value)) break;
      text.remove_prefix(c.length);
    }
    while (right_ && !text.empty()) {
      const CodePoint c = DecodeUtf8Before(text.data() + text.size());
      if (!IsSpace(c.value)) break;
      text.remove_suffix(c.length);
    }
    return text;
  }

 private:
  bool left_, right_;
};

class Replace : public Normalizer {
 public:
  Replace(Regex regex, std::string content)
      : regex_(std::move(regex)), content_(std::move(content)) {}
  std::string_view Apply(std::string_view text, std::string& buffer) const override {
    if (text.empty()) return text;
    regex_.ForEachSpan(text, [&](Span span) {
      buffer += span.is_match ? std::string_view(content_)
                              : text.substr(span.begin, span.end - span.begin);
      CheckSize(buffer.size());
    });
    return buffer;
  }

 private:
  Regex regex_;
  std::string content_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string_view Apply(std::string_view text, std::string& buffer) const override {
    if (text.empty()) return text;
    return buffer.append(prefix_).append(text);
  }

 private:
  std::string prefix_;
};

template <NormalForm form>
Made MakeForm(const Component& json) {
  json.Only({"type"});
  return std::make_unique<Form>(form);
}

template <void (*append)(int32_t, std::string&)>
Made MakeMap(const Component& json) {
  json.Only({"type"});
  return std::make_unique<CodePointMap<append>>();
}

void AppendByteLevel(int32_t c, std::string& out) {
  std::string bytes;
  AppendUtf8(c, bytes);
  for (const char byte : bytes) out += ByteLevelChar(static_cast<uint8_t>(byte));
}

Made MakeStrip(const Component& json) {
  json.Only({"type", "strip_left", "strip_right"});
  return std::make_unique<Strip>(json->Bool("strip_left", true), json->Bool("strip_right", true));
}

Made MakeReplace(const Component& json) {
  json.Only({"type", "pattern", "content"});
  return std::make_unique<Replace>(ReadPattern(json.Child("pattern")), json.Setting("content"));
}

Made MakePrepend(const Component& json) {
  json.Only({"type", "prepend"});
  return std::make_unique<Prepend>(json.Setting("prepend"));
}

constexpr ComponentType<Made> kTypes[] = {{"NFC", MakeForm<NormalForm::kNfc>},
                                          {"NFD", MakeForm<NormalForm::kNfd>},
                                          {"NFKC", MakeForm<NormalForm::kNfkc>},
                                          {"NFKD", MakeForm<NormalForm::kNfkd>},
                                          {"Lowercase", MakeMap<AppendLowercase>},
                                          {"StripAccents", MakeMap<AppendUnlessMark>},
                                          {"ByteLevel", MakeMap<AppendByteLevel>},
                                          {"Strip", MakeStrip},
                                          {"Replace", MakeReplace},
                                          {"Prepend", MakePrepend}};

}  // namespace

Normalizers::Normalizers(const Component& normalizer) {
  VisitSequence(normalizer, "normalizers", [&](const Component& json) {
    steps_.push_back(MakeComponent<Made>(json, kTypes));
  });
}

std::string_view Normalizers::Apply(std::string_view text, std::string& buffer) const {
  std::string next;
  for (const auto& step : steps_) {
    next.clear();
    const std::string_view result = step->Apply(text, next);
    CheckSize(result.size());
    const bool in_next = result.data() == next.data();
    text = result;
    if (!in_next) continue;  // still the caller's text, or a part of `buffer`
    std::swap(buffer, next);
    text = buffer;
  }
  return text;
}

}  // namespace pith
