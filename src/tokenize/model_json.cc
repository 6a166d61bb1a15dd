#include "tokenize/model_json.h"

#include <unordered_set>
#include <utility>

#include "core/error.h"

namespace pith {
namespace {

std::string Quoted(std::string_view text) { return Shown(Json(text)); }

StringMap<int32_t> ReadVocab(const Component& model) {
  const Json& object = model->Field("vocab");
  if (!object.is_object() || object.empty()) model->Fail("vocab", "an object of tokens and ids");
  StringMap<int32_t> vocab;
  std::unordered_set<int32_t> ids;
  for (const auto& [token, id] : object.items()) {
    const std::string where = StrCat(model.Where("vocab"), "[", Quoted(token), "]: ");
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

void ReadMerges(const Component& model, BpeSpec& spec) {
  std::unordered_set<uint64_t> pairs;
  for (const Json& item : model.Array("merges")) {
    const std::string where = StrCat(model.Where("merges"), "[", spec.merges.size(), "]: ");
    const auto [left, right] = SplitMerge(item, where);
    const auto id_of = [&](const std::string& token) {
      const auto it = spec.vocab.find(token);
      Require(it != spec.vocab.end(), ErrorCode::kCorruptData, where, Quoted(token),
              " is not in model.vocab");
      return it->second;
    };
    Require(right.size() >= spec.prefix.size(), ErrorCode::kCorruptData, where, "got ",
            Quoted(right), ", expected continuing_subword_prefix before it");
    const Merge merge{id_of(left), id_of(right), id_of(left + right.substr(spec.prefix.size()))};
    const uint64_t pair = static_cast<uint64_t>(merge.left) << 32 | merge.right;
    Require(pairs.insert(pair).second, ErrorCode::kCorruptData, where, Quoted(left), " and ",
            Quoted(right), " are merged by an earlier entry too");
    spec.merges.push_back(merge);
  }
}

}  // namespace

BpeSpec ReadBpe(const Component& model) {
  const std::string type = model->String("type", "BPE");
  if (type != "BPE") model.Unsupported("type", "\"BPE\"");
  model.Only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
              "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (model->Number("dropout", 0.0) != 0.0) model.Unsupported("dropout", "null and 0");
  BpeSpec spec;
  spec.source = model->source();
  if (model->Has("unk_token")) spec.unk_token = model.Setting("unk_token");
  spec.prefix = model.Setting("continuing_subword_prefix", "");
  spec.suffix = model.Setting("end_of_word_suffix", "");
  spec.fuse_unk = model->Bool("fuse_unk", false);
  spec.byte_fallback = model->Bool("byte_fallback", false);
  spec.ignore_merges = model->Bool("ignore_merges", false);
  spec.vocab = ReadVocab(model);
  ReadMerges(model, spec);
  return spec;
}

}  // namespace pith
