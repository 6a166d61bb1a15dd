// The shapes of published models by name: what their config.json says, without their weights.
#ifndef PITH_LOAD_PUBLISHED_SHAPES_H_
#define PITH_LOAD_PUBLISHED_SHAPES_H_

#include <string>
#include <string_view>
#include <vector>

#include "load/model_config.h"

namespace pith {

// "mamba-130m" … "codestral-7b", by family and size.
std::vector<std::string> PublishedShapeNames();

// Throws kInvalidArgument for an unknown name, listing those that are known.
ModelConfig PublishedShape(std::string_view name);

}  // namespace pith

#endif  // PITH_LOAD_PUBLISHED_SHAPES_H_
