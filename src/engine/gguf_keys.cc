#include "engine/gguf_keys.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/gguf.h"
#include "core/xz.h"
#include "engine/gguf_architecture.h"
#include "engine/gguf_checks.h"
#include "tokenize/tokenizer.h"
#include "tokenize/tokenizer_gguf.h"

namespace pith {
namespace {

uint32_t FileType(DType dtype) {  // llama.cpp's numbers (enum llama_ftype)
  switch (dtype) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ8_0:
      return 7;
    case DType::kQ4_K:
      return 15;
    case DType::kQ6_K:
      return 18;
    case DType::kBF16:
      return 32;
    case DType::kI8:
      break;
  }
  Throw(ErrorCode::kInternal, "dtype: got ", Name(dtype), ", expected one that GGUF has");
}

GgufVocabulary ReadVocabulary(const std::filesystem::path& path, int64_t size) {
  if (IsModelFile(path)) {
    const MappedFile file(path);
    if (StartsAsGguf(file.bytes())) {
      return ToGgufVocabulary(Gguf(file.bytes(), path.string()), size);
    }
  }
  return ToGgufVocabulary(ReadDataFile(path, kMaxTokenizerBytes), path.string(), size);
}

void AddVocabulary(const GgufVocabulary& vocabulary, GgufHead& head) {
  head.AddString("tokenizer.ggml.model", vocabulary.pieces ? "llama" : "gpt2");
  head.AddString("tokenizer.ggml.pre", vocabulary.pre);
  head.AddStrings("tokenizer.ggml.tokens", vocabulary.tokens);
  std::vector<int32_t> types;
  for (const GgufTokenType type : vocabulary.types) types.push_back(static_cast<int32_t>(type));
  head.AddInt32s("tokenizer.ggml.token_type", types);
  if (vocabulary.pieces) {
    head.AddFloat32s("tokenizer.ggml.scores", vocabulary.scores);
    head.AddBool("tokenizer.ggml.add_space_prefix", vocabulary.add_space_prefix);
  } else {
    head.AddStrings("tokenizer.ggml.merges", vocabulary.merges);
  }
  head.AddBool("tokenizer.ggml.add_bos_token", false);
}

// What llama.cpp's templates of chats put first: `<s>` of pieces; of the byte-level encoding what
// ends a text, since without the key llama.cpp takes token 11, whatever that is.
std::optional<uint32_t> BeginOfText(const GgufVocabulary& vocabulary,
                                    const std::vector<int32_t>& ends) {
  if (!vocabulary.pieces) {
    return ends.empty() ? std::nullopt : std::optional<uint32_t>(ends[0]);
  }
  const auto it = std::ranges::find(vocabulary.tokens, "<s>");
  const auto id = static_cast<size_t>(it - vocabulary.tokens.begin());
  const bool special =
      it != vocabulary.tokens.end() && vocabulary.types[id] == GgufTokenType::kControl;
  return special ? std::optional<uint32_t>(id) : std::nullopt;
}

}  // namespace

void AddConfigKeys(const ModelConfig& config, const std::string& name, const std::string& source,
                   GgufHead& head) {
  CheckGgufTells(config, source);
  AddArchitectureKeys(config, name, head);
}

void AddTokenizerKeys(const std::filesystem::path& path, const ModelConfig& config,
                      GgufHead& head) {
  std::vector<int32_t> ends = config.eos_token_ids;
  if (path.empty()) {
    head.AddString("tokenizer.ggml.model", "no_vocab");
  } else {
    const GgufVocabulary vocabulary = ReadVocabulary(path, config.vocab_size);
    AddVocabulary(vocabulary, head);
    const std::optional<int32_t> end = Tokenizer::FromFile(path).end_of_text();
    if (ends.empty() && end) ends.push_back(*end);
    if (const auto begin = BeginOfText(vocabulary, ends)) {
      head.AddUint32("tokenizer.ggml.bos_token_id", *begin);
    }
  }
  if (ends.empty()) return;
  head.AddUint32("tokenizer.ggml.eos_token_id", ends[0]);
  if (ends.size() > 1) head.AddUint32("tokenizer.ggml.eot_token_id", ends[1]);
}

void AddTypeKeys(DType dtype, GgufHead& head) {
  head.AddUint32("general.file_type", FileType(dtype));
  if (IsBlocked(dtype)) head.AddUint32("general.quantization_version", 2);
}

}  // namespace pith
