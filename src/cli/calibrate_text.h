// How calibrate reads its budget and shows what it tried.
#ifndef PITH_CLI_CALIBRATE_TEXT_H_
#define PITH_CLI_CALIBRATE_TEXT_H_

#include <string>
#include <string_view>

#include "eval/calibrate.h"

namespace pith::cli {

// "dNLL=X,recall=Y", either of them or both, each once and above 0; one that is left out keeps its
// default. `sigmas` is finite and at least 0. Throws kInvalidArgument.
CalibrationBudget ParseBudget(std::string_view text, double sigmas);

// One candidate in a line.
std::string TrialText(const Trial& trial);

// Every candidate, the choice, and how it did on the held-out half.
std::string FrontierText(const Calibration& calibration);

}  // namespace pith::cli

#endif  // PITH_CLI_CALIBRATE_TEXT_H_
