// The mixers of models whose layers are all alike.
#ifndef TESTS_LOAD_MIXERS_H_
#define TESTS_LOAD_MIXERS_H_

#include <variant>

#include "load/model_config.h"

namespace pith::testing {

inline bool IsMamba1(const ModelConfig& c) {
  return std::holds_alternative<Mamba1Config>(c.layers.at(0));
}
inline const Mamba1Config& Mamba1Of(const ModelConfig& c) {
  return std::get<Mamba1Config>(c.layers.at(0));
}
inline const Mamba2Config& Mamba2Of(const ModelConfig& c) {
  return std::get<Mamba2Config>(c.layers.at(0));
}
inline const MambaConfig& MixerOf(const ModelConfig& c) { return *AsMamba(c.layers.at(0)); }

}  // namespace pith::testing

#endif  // TESTS_LOAD_MIXERS_H_
