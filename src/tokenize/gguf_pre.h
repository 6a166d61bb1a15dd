// The names that GGUF files have for ways to normalise and cut text.
#ifndef PITH_TOKENIZE_GGUF_PRE_H_
#define PITH_TOKENIZE_GGUF_PRE_H_

#include <string_view>

namespace pith {

// What the tokenizer.json says from which llama.cpp's conversion takes the name. Empty: null.
struct GgufPre {
  std::string_view name;
  std::string_view normalizer;
  std::string_view pre_tokenizer;
  bool ignore_merges = false;
  // Whether added tokens that are text are normalised, and matched in normalised text.
  bool normalized_added = true;
};

inline constexpr std::string_view kGpt2Words =
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
inline constexpr std::string_view kFalconWords =
    R"({"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},)"
    R"({"type":"Digits","individual_digits":false},)"
    R"({"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated",)"
    R"("invert":false}]})";
inline constexpr std::string_view kDigitWords =
    R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]})";
// GPT-4's pattern. Each text is made of its matches, so that what cuts there (Isolated) and what
// drops the rest (Removed, inverted) are the same; files have either.
inline constexpr std::string_view kGpt4Words =
    R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)"
    R"("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3})"
    R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},)"
    R"("behavior":"Isolated","invert":false},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})";
inline constexpr std::string_view kGpt4WordsInverted =
    R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)"
    R"("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3})"
    R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},)"
    R"("behavior":"Removed","invert":true},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})";
// The same with each digit by itself.
inline constexpr std::string_view kQwen2Words =
    R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)"
    R"("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N})"
    R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},)"
    R"("behavior":"Isolated","invert":false},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})";
inline constexpr std::string_view kTekkenWords =
    R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)"
    R"("[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+)"
    R"(|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*)"
    R"(|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},)"
    R"("behavior":"Isolated","invert":false},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})";
inline constexpr std::string_view kDeepseekCoderWords =
    R"({"type":"Sequence","pretokenizers":[)"
    R"({"type":"Split","pattern":{"Regex":"[\r\n]"},"behavior":"Isolated","invert":false},)"
    R"({"type":"Split","pattern":{"Regex":"\\s?\\p{L}+"},"behavior":"Isolated","invert":false},)"
    R"({"type":"Split","pattern":{"Regex":"\\s?\\p{P}+"},"behavior":"Isolated","invert":false},)"
    R"({"type":"Split","pattern":{"Regex":"[一-龥ࠀ-一가-퟿]+"},)"
    R"("behavior":"Isolated","invert":false},)"
    R"({"type":"Digits","individual_digits":true},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})";
inline constexpr std::string_view kNfc = R"({"type":"NFC"})";

// Reading takes the first entry of a name, writing the first whose stages are the tokenizer's.
inline constexpr GgufPre kGgufPres[] = {
    {"gpt-2", "", kGpt2Words},
    // GPT-NeoX's tokenizer is "olmo" where its tokenizer.json was converted, and "mpt" where the
    // converter brought the vocabulary.
    {"olmo", kNfc, kGpt2Words},
    {"mpt", kNfc, kGpt2Words},
    {"falcon", "", kFalconWords},
    {"refact", "", kDigitWords},
    {"starcoder", "", kDigitWords},
    {"smollm", "", kDigitWords},
    {"dbrx", "", kGpt4Words},
    {"dbrx", "", kGpt4WordsInverted},
    {"llama-bpe", "", kGpt4Words, /*ignore_merges=*/true},
    {"llama-bpe", "", kGpt4WordsInverted, /*ignore_merges=*/true},
    {"llama3", "", kGpt4Words, /*ignore_merges=*/true},
    {"llama-v3", "", kGpt4Words, /*ignore_merges=*/true},
    {"pixtral", "", kGpt4Words, /*ignore_merges=*/true},
    {"tekken", "", kTekkenWords, /*ignore_merges=*/true},
    {"qwen2", kNfc, kQwen2Words, /*ignore_merges=*/false, /*normalized_added=*/false},
    {"deepseek-coder", "", kDeepseekCoderWords},
    // What llama.cpp does with these names; no tokenizer.json of theirs was at hand.
    {"falcon-h1", "", kGpt4Words, /*ignore_merges=*/true},
    {"falcon3", "", kGpt4Words, /*ignore_merges=*/true},
    {"midm-2.0", "", kGpt4Words, /*ignore_merges=*/true},
    {"smaug-bpe", "", kGpt4Words},
    {"deepseek-r1-qwen", "", kQwen2Words},
    {"megrez", "", kQwen2Words},
    {"a.x-4.0", "", kGpt2Words},
    {"mellum", "", kGpt2Words},
    {"trillion", "", kGpt2Words},
    {"granite-docling", "", kGpt2Words},
    {"minerva-7b", "", kDigitWords}};

}  // namespace pith

#endif  // PITH_TOKENIZE_GGUF_PRE_H_
