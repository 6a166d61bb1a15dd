// The parts of the native module.
#ifndef PITH_PYTHON_MODULE_H_
#define PITH_PYTHON_MODULE_H_

#include <nanobind/nanobind.h>

namespace pith::python {

void BindErrors(nanobind::module_& module);
void BindResults(nanobind::module_& module);
void BindReductions(nanobind::module_& module);  // after the results
void BindEngine(nanobind::module_& module);      // after both
void BindEvaluation(nanobind::module_& module);  // after the engine

}  // namespace pith::python

#endif  // PITH_PYTHON_MODULE_H_
