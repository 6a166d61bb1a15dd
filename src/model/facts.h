// What reductions know of a model from its configuration.
#ifndef PITH_MODEL_FACTS_H_
#define PITH_MODEL_FACTS_H_

#include "load/model_config.h"
#include "reduce/facts.h"

namespace pith {

// The work of its layers is what each kind counts (layers/work.h), and its states are
// f32.
ModelFacts FactsOf(const ModelConfig& config);

}  // namespace pith

#endif  // PITH_MODEL_FACTS_H_
