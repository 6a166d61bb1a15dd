#include "tokenize/vocab_json.h"

#include <unordered_set>
#include <vector>

#include "core/error.h"

namespace pith {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxKeys = 4096;

// Follows the parser through the text. Returns from OnEvent whether the value is to be kept.
class Collector {
 public:
  Collector(const std::string& source, StringMap<int32_t>& vocab)
      : source_(source), vocab_(vocab) {}

  bool OnEvent(int depth, Json::parse_event_t event, const Json& value) {
    using Event = Json::parse_event_t;
    Require(depth <= kMaxDepth, ErrorCode::kCorruptData, source_, ": JSON is nested deeper than ",
            kMaxDepth, " levels");
    switch (event) {
      case Event::object_start:
      case Event::array_start:
        if (InVocab()) FailId(event == Event::object_start ? "an object" : "an array");
        frames_.push_back({event == Event::object_start, {}, {}});
        return true;
      case Event::object_end:
      case Event::array_end:
        frames_.pop_back();
        return true;
      case Event::key:
        return OnKey(value.get_ref<const std::string&>());
      default:
        if (InVocab()) AddToken(value);
        return true;
    }
  }

 private:
  struct Frame {  // an open object or array
    bool is_object;
    std::string key;  // the current one
    std::unordered_set<std::string> keys;
  };

  bool InVocab() const {
    return frames_.size() == 3 && frames_[2].is_object && frames_[0].key == "model" &&
           frames_[1].key == "vocab";
  }

  bool OnKey(const std::string& key) {
    Frame& frame = frames_.back();
    frame.key = key;
    const bool in_vocab = InVocab();
    const bool fresh = in_vocab ? !vocab_.contains(key) : frame.keys.insert(key).second;
    Require(fresh, ErrorCode::kCorruptData, source_, ": JSON key \"", key.substr(0, 60),
            "\" stands twice in one object");
    Require(frame.keys.size() <= kMaxKeys, ErrorCode::kCorruptData, source_,
            ": a JSON object of more than ", kMaxKeys, " keys");
    return !in_vocab;
  }

  void AddToken(const Json& id) {
    const std::string& token = frames_.back().key;
    Require(!token.empty(), ErrorCode::kCorruptData, source_, ": model.vocab: an empty token");
    if (!id.is_number_unsigned() || id.get<uint64_t>() > kMaxTokenId) {
      FailId(id.dump(-1, ' ', true).substr(0, 60));
    }
    const auto number = id.get<int32_t>();
    Require(ids_.insert(number).second, ErrorCode::kCorruptData, source_, ": model.vocab[\"",
            token.substr(0, 60), "\"]: id ", number, " belongs to another token too");
    vocab_.emplace(token, number);
  }

  [[noreturn]] void FailId(std::string_view got) const {
    Throw(ErrorCode::kCorruptData, source_, ": model.vocab[\"", frames_.back().key.substr(0, 60),
          "\"]: got ", got, ", expected an integer from 0 to ", kMaxTokenId);
  }

  const std::string& source_;
  StringMap<int32_t>& vocab_;
  std::unordered_set<int32_t> ids_;
  std::vector<Frame> frames_;
};

}  // namespace

TokenizerText ParseTokenizerText(std::string_view text, const std::string& source) {
  TokenizerText result;
  Collector collector(source, result.vocab);
  try {
    result.root = Json::parse(text, [&](int depth, Json::parse_event_t event, Json& value) {
      return collector.OnEvent(depth, event, value);
    });
  } catch (const Json::exception& e) {
    Throw(ErrorCode::kCorruptData, source, ": not valid JSON: ", e.what());
  }
  return result;
}

}  // namespace pith
