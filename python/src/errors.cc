// Each kind of pith::Error as an exception that Python's own handlers also catch.
#include <exception>
#include <string>

#include "module.h"
#include "pith/error.h"

namespace nb = nanobind;

namespace pith::python {
namespace {

// One a kind; filled once, and kept as long as the process lives.
struct Exceptions {
  PyObject* base = nullptr;
  PyObject* invalid_argument = nullptr;
  PyObject* not_found = nullptr;
  PyObject* io = nullptr;
  PyObject* corrupt_data = nullptr;
  PyObject* unsupported = nullptr;
  PyObject* cancelled = nullptr;

  PyObject* For(ErrorCode code) const {
    switch (code) {
      case ErrorCode::kInvalidArgument:
        return invalid_argument;
      case ErrorCode::kNotFound:
        return not_found;
      case ErrorCode::kIo:
        return io;
      case ErrorCode::kCorruptData:
        return corrupt_data;
      case ErrorCode::kUnsupported:
        return unsupported;
      case ErrorCode::kCancelled:
        return cancelled;
      case ErrorCode::kInternal:
        break;
    }
    return base;
  }
};
Exceptions exceptions;

PyObject* Make(nb::module_& module, const char* name, const char* doc, PyObject* builtin) {
  const nb::object bases =
      exceptions.base == nullptr
          ? nb::borrow(builtin)
          : nb::object(nb::make_tuple(nb::handle(exceptions.base), nb::handle(builtin)));
  const std::string full = std::string("pith.") + name;
  PyObject* const made = PyErr_NewExceptionWithDoc(full.c_str(), doc, bases.ptr(), nullptr);
  if (made == nullptr) throw nb::python_error();
  module.attr(name) = nb::handle(made);
  return made;
}

}  // namespace

void BindErrors(nb::module_& module) {
  exceptions.base =
      Make(module, "Error", "What pith raises: the base of the others.", PyExc_RuntimeError);
  const auto make = [&](const char* name, const char* doc, PyObject* builtin) {
    return Make(module, name, doc, builtin);
  };
  exceptions.invalid_argument =
      make("InvalidArgumentError", "A value that the caller gave.", PyExc_ValueError);
  exceptions.not_found =
      make("NotFoundError", "A file, tensor or name that does not exist.", PyExc_LookupError);
  exceptions.io = make("IoError", "Reading or writing failed.", PyExc_OSError);
  exceptions.corrupt_data =
      make("CorruptDataError", "A file that contradicts itself or its format.", PyExc_ValueError);
  exceptions.unsupported = make("UnsupportedError", "Valid input that pith does not implement.",
                                PyExc_NotImplementedError);
  exceptions.cancelled = make("CancelledError", "The work was stopped.", PyExc_RuntimeError);
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      PyErr_SetString(exceptions.For(error.code()), error.what());
    }
  });
}

}  // namespace pith::python
