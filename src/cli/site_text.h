// How plan and inspect name sites.
#ifndef PITH_CLI_SITE_TEXT_H_
#define PITH_CLI_SITE_TEXT_H_

#include <string>

#include "core/json.h"
#include "pith/results.h"

namespace pith::cli {

// "after layer 5", or "before layer 0" for -1.
std::string SitePlace(int layer);

OrderedJson PlanJson(const PlanReport& plan);

}  // namespace pith::cli

#endif  // PITH_CLI_SITE_TEXT_H_
