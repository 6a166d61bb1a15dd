// Far-recall contexts of any length, made as the shipped ones were.
#ifndef PITH_EVAL_TASKS_RECALL_GENERATE_H_
#define PITH_EVAL_TASKS_RECALL_GENERATE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/data.h"

namespace pith {

struct RecallRecipe {
  int64_t tokens = 1792;  // of the context, at most; at least 512
  uint64_t seed = 0;
};

// Tokens of a text; must not depend on what stands before or after it but at its ends.
using CountTokens = std::function<int64_t(std::string_view)>;

// The `index`th context of a recipe: consecutive sentences from a place drawn from `documents`
// (running on into the next document where one ends), 8 to 12 facts between them, and one question
// about each, in an order drawn. A function of its arguments alone, on every platform. Throws
// kInvalidArgument where the documents are too short.
RecallItem GenerateRecall(const std::vector<std::string>& documents, const RecallRecipe& recipe,
                          uint64_t index, const CountTokens& count);

}  // namespace pith

#endif  // PITH_EVAL_TASKS_RECALL_GENERATE_H_
