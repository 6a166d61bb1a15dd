#include "tokenize/model_json.h"

#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "tokenize/merges.h"

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

void ReadMerges(const Component& model, BpeSpec& spec) {
  MergeList merges(spec, "model.vocab");
  for (const Json& item : model.Array("merges")) {
    const std::string where = StrCat(model.Where("merges"), "[", spec.merges.size(), "]: ");
    if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      merges.Add(item[0].get<std::string>(), item[1].get<std::string>(), where);
      continue;
    }
    Require(item.is_string(), ErrorCode::kCorruptData, where, "got ", Shown(item),
            ", expected \"a b\" or [\"a\", \"b\"]");
    const auto [left, right] = SplitMerge(item.get_ref<const std::string&>(), where);
    merges.Add(left, right, where);
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
