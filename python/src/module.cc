#include "module.h"

#include "pith/version.h"

NB_MODULE(_pith, module) {
  module.doc() = "The native half of pith: token ids in, numbers out.";
  module.attr("__version__") = PITH_VERSION;
  pith::python::BindErrors(module);
  pith::python::BindResults(module);
  pith::python::BindReductions(module);
  pith::python::BindEngine(module);
}
