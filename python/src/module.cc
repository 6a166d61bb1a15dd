#include "module.h"

#include "pith/version.h"

NB_MODULE(_pith, module) {
  // A policy that lives among the globals of its own function is a cycle through C++, which
  // Python's collector does not see. It goes with the process, and that is nothing to warn of.
  nanobind::set_leak_warnings(false);
  module.doc() = "The native half of pith: token ids in, numbers out.";
  module.attr("__version__") = PITH_VERSION;
  pith::python::BindErrors(module);
  pith::python::BindResults(module);
  pith::python::BindReductions(module);
  pith::python::BindEngine(module);
  pith::python::BindEvaluation(module);
}
