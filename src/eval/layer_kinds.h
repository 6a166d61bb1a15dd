// Which kinds of layers a model has, for searches that treat them apart.
#ifndef PITH_EVAL_LAYER_KINDS_H_
#define PITH_EVAL_LAYER_KINDS_H_

#include <span>
#include <string>
#include <vector>

#include "pith/engine.h"

namespace pith {

// The kinds of the layers that mix rows, in the order of their first ones.
std::vector<std::string> MixingKinds(std::span<const LayerInfo> layers);

// What searches try: all mixing layers, written "", then where there are several kinds each alone.
std::vector<std::string> KindsToTry(std::span<const LayerInfo> layers);

// "Mamba-2 0-2+4, attention 3": which of a model's layers, by kind.
std::string LayersByKind(std::span<const LayerInfo> layers, std::span<const int> which);

// "0-2+4" of increasing numbers, as reductions spell layers.
std::string JoinLayers(std::span<const int> layers);

}  // namespace pith

#endif  // PITH_EVAL_LAYER_KINDS_H_
