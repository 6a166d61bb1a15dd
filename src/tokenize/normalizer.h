// First stage: text is normalised, before it is cut into words.
#ifndef PITH_TOKENIZE_NORMALIZER_H_
#define PITH_TOKENIZE_NORMALIZER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/component.h"

namespace pith {

// Const and thread-safe.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // `text` is valid UTF-8, and so is the result: `text` itself or a view of `buffer`, which holds
  // nothing before.
  virtual std::string_view Apply(std::string_view text, std::string& buffer) const = 0;
};

// Several in turn; none leaves the text as it is.
class Normalizers {
 public:
  Normalizers() = default;
  // Reads "normalizer"; Sequences may nest.
  explicit Normalizers(const Component& normalizer);

  // Returns `text` itself or a view of `buffer`. Throws kUnsupported where the text grows beyond
  // 1 GiB.
  std::string_view Apply(std::string_view text, std::string& buffer) const;

 private:
  std::vector<std::unique_ptr<const Normalizer>> steps_;
};

}  // namespace pith

#endif  // PITH_TOKENIZE_NORMALIZER_H_
