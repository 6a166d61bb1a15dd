// The names that GGUF files have for ways to normalise and cut text.
#ifndef PITH_TOKENIZE_GGUF_PRE_H_
#define PITH_TOKENIZE_GGUF_PRE_H_

#include <span>
#include <string_view>

namespace pith {

// What the tokenizer.json says from which llama.cpp's conversion takes the name. Empty: null.
struct GgufPre {
  std::string_view name;
  std::string_view normalizer;
  std::string_view pre_tokenizer;
};

inline constexpr std::string_view kGpt2Words =
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
inline constexpr std::string_view kNfc = R"({"type":"NFC"})";

// Names that Mamba models have. GPT-NeoX's tokenizer is "olmo" where its tokenizer.json was
// converted, and "mpt" where the converter brought the vocabulary; writing takes the first.
inline constexpr GgufPre kGgufPres[] = {
    {"gpt-2", "", kGpt2Words},
    {"olmo", kNfc, kGpt2Words},
    {"mpt", kNfc, kGpt2Words},
    {"falcon", "",
     R"({"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},)"
     R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},)"
     R"({"type":"Digits","individual_digits":false},)"
     R"({"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated",)"
     R"("invert":false}]})"}};

}  // namespace pith

#endif  // PITH_TOKENIZE_GGUF_PRE_H_
