#include "tokenize/tokenizer_json.h"

#include <algorithm>
#include <initializer_list>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace pith {
namespace {

std::string Quoted(std::string_view text) { return StrCat('"', Excerpt(text), '"'); }

std::string Shown(const Json& value) { return Excerpt(value.dump()); }

// One object of the file. Fields that pith does not know are refused, since they may change ids.
class Section {
 public:
  Section(const Json& object, const std::string& source, const std::string& path,
          std::initializer_list<std::string_view> known)
      : reader_(object, source, path), path_(path) {
    for (const auto& item : object.items()) {
      const bool is_known = std::find(known.begin(), known.end(), item.key()) != known.end();
      if (!is_known) Unsupported(item.key(), "no such field");
    }
  }

  const JsonReader& operator*() const { return reader_; }
  const JsonReader* operator->() const { return &reader_; }

  [[noreturn]] void Unsupported(const std::string& field, std::string_view expected) const {
    const auto it = reader_.object().find(field);
    Throw(ErrorCode::kUnsupported, reader_.source(), ": ", path_, field, ": got ",
          it == reader_.object().end() ? "nothing" : Shown(*it), ", pith supports ", expected);
  }

  void ExpectNull(const char* field) const {
    if (reader_.Has(field)) Unsupported(field, "null");
  }
  void ExpectNullOrEmpty(const char* field) const {
    if (reader_.Has(field) && !reader_.String(field).empty()) Unsupported(field, "null");
  }
  void ExpectFalse(const char* field) const {
    if (reader_.Bool(field, false)) Unsupported(field, "false");
  }

 private:
  JsonReader reader_;
  std::string path_;
};

// A component of the pipeline, with its "type".
std::string TypeOf(const Json& component, const std::string& source, const std::string& path) {
  return JsonReader(component, source, path).String("type");
}

const Json& ArrayField(const Section& section, const char* field) {
  if (!section->Field(field).is_array()) section->Fail(field, "an array");
  return section->Field(field);
}

// Calls `visit(component, path)` on `component`, or on the parts of a Sequence of them.
template <class Visit>
void VisitSequence(const Json& component, const std::string& source, const std::string& path,
                   const char* list, const Visit& visit) {
  if (TypeOf(component, source, path) != "Sequence") return visit(component, path);
  const Section sequence(component, source, path, {"type", list});
  size_t index = 0;
  for (const Json& part : ArrayField(sequence, list)) {
    visit(part, StrCat(path, list, "[", index++, "]."));
  }
}

bool ReadNormalizer(const Json& normalizer, const std::string& source) {
  bool nfc = false;
  VisitSequence(normalizer, source, "normalizer.", "normalizers",
                [&](const Json& part, const std::string& path) {
                  const Section section(part, source, path, {"type"});
                  if (section->String("type") != "NFC") section.Unsupported("type", "NFC");
                  nfc = true;
                });
  return nfc;
}

PreTokenizerStage ReadByteLevel(const Json& part, const std::string& source,
                                const std::string& path) {
  const Section section(part, source, path,
                        {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  // The package's ByteLevel insists on add_prefix_space and takes use_regex for granted.
  section->Field("add_prefix_space");
  return {true, section->Bool("add_prefix_space", true), section->Bool("use_regex", true), ""};
}

PreTokenizerStage ReadSplit(const Json& part, const std::string& source, const std::string& path) {
  const Section section(part, source, path, {"type", "pattern", "behavior", "invert"});
  // With "Isolated" matches and gaps are pieces alike, so that "invert" changes nothing.
  if (section->String("behavior") != "Isolated") section.Unsupported("behavior", "\"Isolated\"");
  section->Bool("invert", false);
  const Section pattern(section->Field("pattern"), source, path + "pattern.", {"Regex"});
  return {false, false, false, pattern->String("Regex")};
}

std::vector<PreTokenizerStage> ReadPreTokenizer(const Json& pre_tokenizer,
                                                const std::string& source) {
  std::vector<PreTokenizerStage> stages;
  VisitSequence(pre_tokenizer, source, "pre_tokenizer.", "pretokenizers",
                [&](const Json& part, const std::string& path) {
                  const std::string type = TypeOf(part, source, path);
                  Require(type == "ByteLevel" || type == "Split", ErrorCode::kUnsupported, source,
                          ": ", path, "type: got ", Quoted(type),
                          ", pith supports \"ByteLevel\" and \"Split\"");
                  Require(stages.empty() || !stages.back().byte_level, ErrorCode::kUnsupported,
                          source, ": ", path, "type: got ", Quoted(type),
                          " after \"ByteLevel\", pith supports nothing there");
                  stages.push_back(type == "Split" ? ReadSplit(part, source, path)
                                                   : ReadByteLevel(part, source, path));
                });
  Require(!stages.empty() && stages.back().byte_level, ErrorCode::kUnsupported, source,
          ": pre_tokenizer: pith supports sequences that end in \"ByteLevel\"");
  return stages;
}

// Post-processors add special tokens, which Encode never does, or change offsets, which it has not.
void CheckPostProcessor(const Json& post_processor, const std::string& source) {
  VisitSequence(post_processor, source, "post_processor.", "processors",
                [&](const Json& part, const std::string& path) {
                  const std::string type = TypeOf(part, source, path);
                  Require(type == "ByteLevel" || type == "TemplateProcessing",
                          ErrorCode::kUnsupported, source, ": ", path, "type: got ", Quoted(type),
                          ", pith supports \"ByteLevel\" and \"TemplateProcessing\"");
                });
}

void CheckDecoder(const Json& decoder, const std::string& source) {
  const Section section(decoder, source, "decoder.",
                        {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (section->String("type") != "ByteLevel") section.Unsupported("type", "\"ByteLevel\"");
}

// One merge, spelt "a b" or ["a", "b"].
std::pair<std::string, std::string> SplitMerge(const Json& merge, const std::string& where) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  Require(merge.is_string(), ErrorCode::kCorruptData, where, "got ", Shown(merge),
          ", expected \"a b\" or [\"a\", \"b\"]");
  const auto& text = merge.get_ref<const std::string&>();
  const size_t blank = text.find(' ');
  Require(blank != std::string::npos && blank == text.rfind(' '), ErrorCode::kCorruptData, where,
          "got ", Quoted(text), ", expected two tokens with one blank between them");
  return {text.substr(0, blank), text.substr(blank + 1)};
}

std::vector<Merge> ReadMerges(const Section& model, const StringMap<int32_t>& vocab) {
  std::vector<Merge> merges;
  std::unordered_set<uint64_t> pairs;
  for (const Json& item : ArrayField(model, "merges")) {
    const std::string where = StrCat(model->source(), ": model.merges[", merges.size(), "]: ");
    const auto [left, right] = SplitMerge(item, where);
    const auto id_of = [&](const std::string& token) {
      const auto it = vocab.find(token);
      Require(it != vocab.end(), ErrorCode::kCorruptData, where, Quoted(token),
              " is not in model.vocab");
      return it->second;
    };
    const Merge merge{id_of(left), id_of(right), id_of(left + right)};
    const uint64_t pair = static_cast<uint64_t>(merge.left) << 32 | merge.right;
    Require(pairs.insert(pair).second, ErrorCode::kCorruptData, where, Quoted(left), " and ",
            Quoted(right), " are merged by an earlier entry too");
    merges.push_back(merge);
  }
  return merges;
}

AddedToken ReadAddedToken(const Json& item, const std::string& source, const std::string& path) {
  const Section section(
      item, source, path,
      {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.id = static_cast<int32_t>(section->Int("id", 0, kMaxTokenId));
  token.content = section->String("content");
  token.single_word = section->Bool("single_word", false);
  token.lstrip = section->Bool("lstrip", false);
  token.rstrip = section->Bool("rstrip", false);
  token.special = section->Bool("special", false);
  token.normalized = section->Bool("normalized", !token.special);
  if (token.content.empty() || token.content.size() > AddedTokenMatcher::kMaxContent) {
    section->Fail("content", StrCat("1 to ", AddedTokenMatcher::kMaxContent, " bytes"));
  }
  return token;
}

std::vector<AddedToken> ReadAddedTokens(const Section& top, const StringMap<int32_t>& vocab) {
  std::vector<AddedToken> tokens;
  if (!top->Has("added_tokens")) return tokens;
  std::unordered_set<int32_t> used;
  for (const auto& [token, id] : vocab) used.insert(id);
  std::unordered_set<std::string> contents;
  for (const Json& item : ArrayField(top, "added_tokens")) {
    const std::string path = StrCat("added_tokens[", tokens.size(), "].");
    AddedToken token = ReadAddedToken(item, top->source(), path);
    Require(contents.insert(token.content).second, ErrorCode::kCorruptData, top->source(), ": ",
            path, "content: ", Quoted(token.content), " stands twice");
    const auto in_vocab = vocab.find(token.content);
    const bool consistent =
        in_vocab == vocab.end() ? used.insert(token.id).second : in_vocab->second == token.id;
    Require(consistent, ErrorCode::kCorruptData, top->source(), ": ", path, "id: got ", token.id,
            " for ", Quoted(token.content),
            in_vocab == vocab.end() ? ", which belongs to another token"
                                    : StrCat(", but model.vocab says ", in_vocab->second));
    tokens.push_back(std::move(token));
  }
  std::stable_partition(tokens.begin(), tokens.end(), [](const auto& t) { return t.special; });
  return tokens;
}

StringMap<int32_t> ReadVocab(const Section& model) {
  const Json& object = model->Field("vocab");
  if (!object.is_object() || object.empty()) model->Fail("vocab", "an object of tokens and ids");
  StringMap<int32_t> vocab;
  std::unordered_set<int32_t> ids;
  for (const auto& [token, id] : object.items()) {
    const std::string where = StrCat(model->source(), ": model.vocab[", Quoted(token), "]: ");
    Require(!token.empty(), ErrorCode::kCorruptData, where, "an empty token");
    Require(id.is_number_unsigned() && id.get<uint64_t>() <= kMaxTokenId, ErrorCode::kCorruptData,
            where, "got ", Shown(id), ", expected an integer from 0 to ", kMaxTokenId);
    const auto number = id.get<int32_t>();
    Require(ids.insert(number).second, ErrorCode::kCorruptData, where, "id ", number,
            " belongs to another token too");
    vocab.emplace(token, number);
  }
  return vocab;
}

void ReadModel(const Section& top, TokenizerSpec& spec) {
  const Json& object = top->Field("model");
  const std::string type = JsonReader(object, spec.source, "model.").String("type", "BPE");
  Require(type == "BPE", ErrorCode::kUnsupported, spec.source, ": model.type: got ", Quoted(type),
          ", pith supports \"BPE\"");
  const Section model(
      object, spec.source, "model.",
      {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
       "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (model->Number("dropout", 0.0) != 0.0) model.Unsupported("dropout", "null and 0");
  model.ExpectNull("unk_token");
  model.ExpectNullOrEmpty("continuing_subword_prefix");
  model.ExpectNullOrEmpty("end_of_word_suffix");
  model.ExpectFalse("byte_fallback");
  model->Bool("fuse_unk", false);  // of no effect without unk_token
  spec.ignore_merges = model->Bool("ignore_merges", false);
  spec.vocab = ReadVocab(model);
  spec.merges = ReadMerges(model, spec.vocab);
}

}  // namespace

TokenizerSpec ParseTokenizerJson(std::string_view text, const std::string& source) {
  Require(text.size() <= static_cast<size_t>(kMaxTokenizerBytes), ErrorCode::kCorruptData, source,
          ": ", text.size(), " bytes, expected at most ", kMaxTokenizerBytes);
  const Json root = ParseJson(text, source);
  const Section top(root, source, "",
                    {"version", "truncation", "padding", "added_tokens", "normalizer",
                     "pre_tokenizer", "post_processor", "decoder", "model"});
  if (top->String("version", "1.0") != "1.0") top.Unsupported("version", "\"1.0\"");
  top.ExpectNull("truncation");
  top.ExpectNull("padding");

  TokenizerSpec spec;
  spec.source = source;
  if (top->Has("normalizer")) spec.nfc = ReadNormalizer(top->Field("normalizer"), source);
  if (!top->Has("pre_tokenizer")) top.Unsupported("pre_tokenizer", "ByteLevel");
  spec.stages = ReadPreTokenizer(top->Field("pre_tokenizer"), source);
  if (top->Has("post_processor")) CheckPostProcessor(top->Field("post_processor"), source);
  if (!top->Has("decoder")) top.Unsupported("decoder", "ByteLevel");
  CheckDecoder(top->Field("decoder"), source);
  ReadModel(top, spec);
  spec.added_tokens = ReadAddedTokens(top, spec.vocab);
  return spec;
}

}  // namespace pith
