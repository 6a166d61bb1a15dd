// The keys of one architecture in a GGUF file, read so that none can be overlooked.
#ifndef PITH_LOAD_GGUF_FIELDS_H_
#define PITH_LOAD_GGUF_FIELDS_H_

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/gguf.h"
#include "load/config_fields.h"

namespace pith {

// Keys are given without the architecture before them. What a reader throws is Gguf's.
class GgufFields {
 public:
  explicit GgufFields(const Gguf& file);

  const Gguf& file() const { return file_; }
  std::string_view architecture() const { return architecture_; }
  // The whole key, which counts as read from now on.
  std::string Named(std::string_view key);
  bool Has(std::string_view key) { return file_.Has(Named(key)); }
  int64_t Size(std::string_view key, int64_t max = kMaxDim) {
    return file_.Int(Named(key), 1, max);
  }
  // From 0 to 1.
  float Epsilon(std::string_view key);
  // Finite and above 0; `fallback` where the key is absent.
  float Positive(std::string_view key, float fallback);
  bool Bool(std::string_view key, bool fallback) {
    return Has(key) ? file_.Bool(Named(key)) : fallback;
  }
  // One number for all blocks, or an array with one for each: from 0 to kMaxDim.
  std::vector<int64_t> PerBlock(std::string_view key, int64_t blocks);
  // What other architectures have, and these must not.
  void Zero(std::string_view key) {
    if (Has(key)) file_.Int(Named(key), 0, 0);
  }
  [[noreturn]] void Fail(std::string_view key, std::string_view expected) {
    file_.Fail(Named(key), expected);
  }
  // A key that no architecture stands before.
  void Read(std::string key) { read_.insert(std::move(key)); }
  // Whether the file has a tensor of this name.
  bool HasTensor(std::string_view name) const { return tensors_.contains(name); }
  // Throws kUnsupported for a key that was neither read nor is without effect.
  void Finish() const;

 private:
  const Gguf& file_;
  std::string architecture_;
  std::set<std::string, std::less<>> read_;
  std::set<std::string_view> tensors_;
};

}  // namespace pith

#endif  // PITH_LOAD_GGUF_FIELDS_H_
