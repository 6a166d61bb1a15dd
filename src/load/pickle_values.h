// What a pickle may build here: plain records in one flat array, which name each other by index.
#ifndef PITH_LOAD_PICKLE_VALUES_H_
#define PITH_LOAD_PICKLE_VALUES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"

namespace pith {

// A tensor as the pickle describes it: a view into a storage, which lies elsewhere in the file.
struct PickledTensor {
  std::string name;
  std::string storage_key;
  std::string dtype_name;        // as safetensors spells it: "F32", "I64", ...
  int64_t storage_elements = 0;  // all numbers are as read: the caller checks them against the file
  int64_t storage_offset = 0;    // in elements
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements
};

namespace pickle {

using Id = uint32_t;  // index into the array of values

struct None {};
struct Opaque {};  // a number or bytes that no tensor needs
struct Tuple {
  std::vector<Id> items;
};
struct List {
  std::vector<Id> items;
};
struct Dict {
  std::vector<std::pair<Id, Id>> items;
};
struct Storage {
  std::string key;
  std::string dtype_name;
  int64_t elements = 0;
};
struct Global {
  uint8_t index = 0;  // into the whitelist (torch_objects.cc)
};
using Value = std::variant<None, Opaque, bool, int64_t, std::string, Tuple, List, Dict, Global,
                           Storage, PickledTensor>;

// A tensor takes some 20 values and 200 bytes of program; the largest models have 1,000 tensors,
// and an optimizer's state beside them has twice as many.
inline constexpr size_t kMaxValues = size_t{1} << 18;

class Values {
 public:
  explicit Values(std::string source) : source_(std::move(source)) {}

  template <class... Parts>
  void Check(bool ok, const Parts&... parts) const {
    if (!ok) Throw(ErrorCode::kCorruptData, source_, ": bad pickle at byte ", at, ": ", parts...);
  }

  Id Add(Value value) {
    Check(values_.size() < kMaxValues, "more than 2^18 values");
    values_.push_back(std::move(value));
    return static_cast<Id>(values_.size() - 1);
  }

  // Null where the value is of another type.
  template <class T>
  T* Get(Id id) {
    return std::get_if<T>(&values_[id]);
  }

  template <class T>
  T& As(Id id, std::string_view expected) {
    T* value = Get<T>(id);
    Check(value != nullptr, "expected ", expected);
    return *value;
  }

  size_t size() const { return values_.size(); }
  const std::string& source() const { return source_; }

  size_t at = 0;  // the interpreter's place in the program, for messages

 private:
  std::string source_;
  std::vector<Value> values_;
};

}  // namespace pickle
}  // namespace pith

#endif  // PITH_LOAD_PICKLE_VALUES_H_
