#ifndef PITH_PYTHON_REDUCTIONS_H_
#define PITH_PYTHON_REDUCTIONS_H_

#include <nanobind/nanobind.h>

#include <span>
#include <string>

#include "pith/policy.h"

namespace pith::python {

// A policy whose plans `plan(site, remove)` makes: rows, or (rows, targets).
OwnPolicy MakePolicy(nanobind::object plan, std::string name, std::string importance,
                     std::string features, bool merges);

// A NumPy array of its own.
nanobind::object CopyLogits(std::span<const float> logits);

}  // namespace pith::python

#endif  // PITH_PYTHON_REDUCTIONS_H_
