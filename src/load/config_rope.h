// Rotary embeddings as transformers' config.json describes them.
#ifndef PITH_LOAD_CONFIG_ROPE_H_
#define PITH_LOAD_CONFIG_ROPE_H_

#include <cstdint>
#include <vector>

#include "load/config_fields.h"
#include "load/model_config.h"

namespace pith {

// Radians a position of the pairs of `dim` numbers, without a scaling: 1 / theta^(2i / dim), in f32
// as models were trained with it.
std::vector<double> RopeFrequencies(double theta, int64_t dim);

// Reads rope_theta, partial_rotary_factor (`partial` where the file does not say), and
// rope_parameters or, as transformers 4 wrote it, rope_scaling; sets the layer's frequencies.
// Throws kUnsupported for a scaling that depends on how long the text is (dynamic, longrope).
// `heads` has its head_dim; max_positions is the model's max_position_embeddings.
void ReadRope(ConfigFields& top, double partial, int64_t max_positions, AttentionConfig& heads);

// Reads those keys and forgets them, for a model that does not rotate.
void SkipRope(ConfigFields& top);

}  // namespace pith

#endif  // PITH_LOAD_CONFIG_ROPE_H_
