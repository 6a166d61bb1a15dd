// Text to token ids and back, as tokenizer.json or a GGUF file says: normalizer, pre-tokenizer,
// model (byte-pair encoding), and on the way back the decoder.
#ifndef PITH_TOKENIZER_H_
#define PITH_TOKENIZER_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pith {

class StreamDecoder;

// Const and thread-safe after loading; copies share the tables. Ids equal those of the `tokenizers`
// package (encode with add_special_tokens=False).
class Tokenizer {
 public:
  // Throw kNotFound or kIo for the file; kCorruptData for what no tokenizer.json can be;
  // kUnsupported for fields or values that pith does not implement. Messages name file, field and
  // value. A file may be packed (.xz), or a model's GGUF file. At most 256 MiB. Ids: at most 2^22
  // - 1.
  static Tokenizer FromFile(const std::filesystem::path& path);
  static Tokenizer FromJson(std::string_view text, std::string source);

  // Never adds a token (no BOS). Added tokens that stand in the text become their ids. Bytes that
  // are not UTF-8 become U+FFFD first, one for each maximal subpart of an ill-formed sequence, as
  // in Python's bytes.decode("utf-8", "replace"). O(n log n) at worst. Keeps 2 MiB of cache a
  // thread.
  std::vector<int32_t> Encode(std::string_view utf8) const;

  // The bytes of all tokens, as the file's decoder says, which are UTF-8 if the ids come from
  // Encode and are all there: bytes that make no character stay as they are. An id without a token
  // (models round their vocabulary up) gives nothing; a negative one throws kInvalidArgument.
  // `skip_special` leaves special tokens out.
  std::string Decode(std::span<const int32_t> ids, bool skip_special = false) const;
  // Those of one token within a text.
  std::string TokenBytes(int32_t id) const;

  // Highest id + 1, added tokens included; ids below may be unused.
  int64_t vocab_size() const;
  // By the string in the file ("Ġthe" for " the").
  std::optional<int32_t> TokenToId(std::string_view token) const;
  bool IsSpecial(int32_t id) const;
  // The first of "<|endoftext|>", "</s>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<eos>"
  // that is a special added token.
  std::optional<int32_t> end_of_text() const;

 private:
  struct Impl;
  friend class StreamDecoder;
  explicit Tokenizer(std::shared_ptr<const Impl> impl);
  // Whether there is such a token; `first`: whether a text begins with it.
  bool AppendToken(int32_t id, bool first, std::string& bytes) const;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace pith

#endif  // PITH_TOKENIZER_H_
