// One object of config.json, read so that no key can be overlooked.
#ifndef PITH_LOAD_CONFIG_FIELDS_H_
#define PITH_LOAD_CONFIG_FIELDS_H_

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "load/model_config.h"

namespace pith {

// Bounds that every size of a model must keep: products of any three of them fit 64 bits.
inline constexpr int64_t kMaxDim = int64_t{1} << 20;

// Remembers which keys were asked for; Finish() refuses the others.
class ConfigFields {
 public:
  ConfigFields(const Json& object, std::string source, std::string path = "");

  const std::string& source() const { return reader_.source(); }
  bool Has(const char* key);
  int64_t Size(const char* key, int64_t max = kMaxDim);  // required, at least 1
  int64_t Size(const char* key, int64_t fallback, int64_t max);
  float Epsilon(const char* key, float fallback);  // finite, at least 0
  double Number(const char* key, double fallback);
  bool Bool(const char* key, bool fallback);
  std::string String(const char* key, const std::string& fallback);
  const Json* Find(const char* key);   // null where absent
  bool IsNull(const char* key) const;  // there, and null

  // ceil(d_model / 16) for "auto" or an absent key, else the number given.
  int64_t DtRank(const char* key, int64_t d_model);
  // floor(expand * d_model); `expand` may be a fraction.
  int64_t InnerWidth(const char* key, int64_t d_model);
  // A pair [min, max] of bounds for dt; either may be infinite.
  void DtLimit(const char* key, Mamba2Config& config);
  // One id, a list of ids, or absent.
  std::vector<int32_t> TokenIds(const char* key, int64_t vocab_size);

  [[noreturn]] void Unsupported(const char* key, std::string_view expected);
  [[noreturn]] void Fail(const char* key, std::string_view expected) {
    reader_.Fail(key, expected);
  }

  // Throws kUnsupported for a key that was neither read nor is in one of the lists.
  void Finish(std::initializer_list<std::span<const std::string_view>> without_effect) const;

 private:
  const Json* object_;
  JsonReader reader_;
  std::string path_;
  std::set<std::string, std::less<>> read_;
};

// The two families, and in the second one Transformers and hybrids; the callers check what both
// have in common (ParseModelConfig).
ModelConfig ParseMambaSsmConfig(const Json& json, const std::string& source);
ModelConfig ParseHuggingFaceConfig(const Json& json, const std::string& source);
// Of the model_type that config.format names; false where it is none of these.
bool ReadTransformer(ConfigFields& top, ModelConfig& config);
bool ReadHybrid(ConfigFields& top, ModelConfig& config);
bool ReadMixedHybrid(ConfigFields& top, ModelConfig& config);

}  // namespace pith

#endif  // PITH_LOAD_CONFIG_FIELDS_H_
