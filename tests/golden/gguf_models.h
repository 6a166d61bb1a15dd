// The models of tools/golden/gguf_logits.py as GGUF files, drawn from integers by the generator's
// rules.
#ifndef PITH_TESTS_GOLDEN_GGUF_MODELS_H_
#define PITH_TESTS_GOLDEN_GGUF_MODELS_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace pith::testing {

struct GgufModelType {
  std::string name;
  uint32_t number = 0;
  size_t block = 1;
  size_t bytes = 4;
};

// By its name, "Q8_0"; throws where no such type is drawn.
GgufModelType FindGgufModelType(const std::string& name);

// The whole file of a model that expected.json names.
std::string GgufModelBytes(const std::string& model, const GgufModelType& type);

}  // namespace pith::testing

#endif  // PITH_TESTS_GOLDEN_GGUF_MODELS_H_
