// How eval reads its list of reductions and shows its rows.
#ifndef PITH_CLI_EVAL_TEXT_H_
#define PITH_CLI_EVAL_TEXT_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/runner.h"

namespace pith::cli {

// Splits at commas. Reductions hold commas too: a part `key=value`, with no colon before the `=`,
// goes on with the reduction before it. Throws kInvalidArgument where there is none, and for empty
// parts, naming the option.
std::vector<std::string> SplitMethods(std::string_view text,
                                      const std::string& option = "--methods");

// One table for each task, as people read it, and the layers at which the reductions work.
std::string EvalTables(std::span<const EvalRow> rows);

}  // namespace pith::cli

#endif  // PITH_CLI_EVAL_TEXT_H_
