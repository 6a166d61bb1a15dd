// What a reduction does to each token of a prompt, for the page and for programs.
#ifndef PITH_SERVE_INSPECT_JSON_H_
#define PITH_SERVE_INSPECT_JSON_H_

#include <cstdint>
#include <span>
#include <string>

#include "core/json.h"
#include "pith/engine.h"

namespace pith::serve {

// `report`: of the context; null: there is none. `whole`: the tokens behind it, which are read
// whole. docs/serving.md has the form.
OrderedJson InspectJson(const Engine& engine, const std::string& reduce,
                        const InspectReport* report, std::span<const int32_t> whole);

}  // namespace pith::serve

#endif  // PITH_SERVE_INSPECT_JSON_H_
