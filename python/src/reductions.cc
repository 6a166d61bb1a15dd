// Reductions, and policies that are written in Python.
#include "reductions.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "module.h"
#include "pith/reduction.h"

namespace nb = nanobind;

namespace pith::python {
namespace {

// A Python object that threads without the lock may copy and drop.
class Callable {
 public:
  explicit Callable(nb::object object)
      : object_(new nb::object(std::move(object)), [](nb::object* held) {
          if (!nb::is_alive()) return;  // the interpreter took it along
          const nb::gil_scoped_acquire lock;
          delete held;
        }) {}
  const nb::object& get() const { return *object_; }

 private:
  std::shared_ptr<nb::object> object_;
};

// A copy: the call's memory ends with it, and Python may keep what it gets.
template <class T>
nb::object Copy(std::span<const T> values, std::vector<size_t> shape) {
  auto* const held = new std::vector<T>(values.begin(), values.end());
  const nb::capsule owner(held, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(held->data(), shape.size(), shape.data(), owner));
}

nb::object CopySite(const PolicySite& site) {
  nb::object made = nb::module_::import_("types").attr("SimpleNamespace")();
  made.attr("layer") = site.layer;
  made.attr("rows") = site.rows;
  made.attr("protected_tail") = site.protected_tail;
  made.attr("positions") = Copy(site.positions, {site.positions.size()});
  made.attr("importance") = Copy(site.importance, {site.importance.size()});
  const auto width = static_cast<size_t>(site.feature_width);
  made.attr("features") =
      Copy(site.features, {width == 0 ? 0 : site.features.size() / width, width});
  return made;
}

std::vector<int32_t> Rows(nb::handle values) {
  // What NumPy makes of it: lists and arrays of any whole-number type.
  const nb::object numpy = nb::module_::import_("numpy");
  const nb::object array = numpy.attr("asarray")(values);
  if (nb::len(array) == 0) return {};
  return nb::cast<std::vector<int32_t>>(array.attr("tolist")());
}

PolicyPlan CallPlan(const Callable& plan, const PolicySite& site, int64_t remove) {
  const nb::gil_scoped_acquire lock;
  const nb::object made = plan.get()(CopySite(site), remove);
  if (!nb::isinstance<nb::tuple>(made)) return {Rows(made), {}};
  const auto pair = nb::cast<nb::tuple>(made);
  if (nb::len(pair) != 2) throw nb::value_error("a policy returns rows, or (rows, targets)");
  return {Rows(pair[0]), Rows(pair[1])};
}

}  // namespace

OwnPolicy MakePolicy(nb::object plan, std::string name, std::string importance,
                     std::string features, bool merges) {
  const Callable held(std::move(plan));
  return {.name = std::move(name),
          .importance = std::move(importance),
          .features = std::move(features),
          .merges = merges,
          .plan = [held](const PolicySite& site, int64_t remove) {
            return CallPlan(held, site, remove);
          }};
}

nb::object CopyLogits(std::span<const float> logits) { return Copy(logits, {logits.size()}); }

void BindReductions(nb::module_& module) {
  nb::class_<Reduction>(module, "Reduction", "How a context is reduced, compiled for a model.")
      .def(nb::init<>())
      .def_prop_ro("text", [](const Reduction& r) { return r.text(); })
      .def_prop_ro("method", [](const Reduction& r) { return r.method(); })
      .def_prop_ro("wanted", &Reduction::wanted)
      .def("__repr__", [](const Reduction& r) {
        return nb::str("pith.Reduction({!r})").attr("format")(r.text());
      });
  module.def(
      "list_reductions",
      [] {
        nb::dict methods;
        for (const MethodInfo& method : ListReductions()) {
          nb::dict keys;
          for (const MethodInfo::Key& key : method.keys) {
            keys[nb::cast(key.name)] = nb::make_tuple(key.fallback, key.meaning);
          }
          nb::dict entry;
          entry["description"] = method.description;
          entry["keys"] = keys;
          methods[nb::cast(method.name)] = entry;
        }
        return methods;
      },
      "Every method by name, with its keys, their defaults and meanings.");
}

}  // namespace pith::python
