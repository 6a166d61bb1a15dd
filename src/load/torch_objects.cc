#include "load/torch_objects.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <string>

#include "load/stored_tensor.h"

namespace pith::pickle {
namespace {

constexpr size_t kMaxKeyBytes = 64;
constexpr size_t kMaxDims = 16;
constexpr int kMaxWrappers = 4;

enum class Kind : uint8_t {
  kOrderedDict,
  kRebuildTensor,
  kRebuildParameter,
  kRebuildParameterWithState,
  kRebuildFromType,
  kTensorClass,
  kStorageType,
  kPlainData,  // something that stands beside weights and that no tensor needs
};

struct GlobalEntry {
  std::string_view name;
  Kind kind;
  std::string_view dtype_name;  // of a storage type
};

constexpr std::array kGlobals = {
    GlobalEntry{"collections.OrderedDict", Kind::kOrderedDict, ""},
    GlobalEntry{"torch._utils._rebuild_tensor_v2", Kind::kRebuildTensor, ""},
    GlobalEntry{"torch._utils._rebuild_parameter", Kind::kRebuildParameter, ""},
    GlobalEntry{"torch._utils._rebuild_parameter_with_state", Kind::kRebuildParameterWithState, ""},
    GlobalEntry{"torch._tensor._rebuild_from_type_v2", Kind::kRebuildFromType, ""},
    GlobalEntry{"torch.Tensor", Kind::kTensorClass, ""},
    GlobalEntry{"torch.nn.parameter.Parameter", Kind::kTensorClass, ""},
    GlobalEntry{"torch.FloatStorage", Kind::kStorageType, "F32"},
    GlobalEntry{"torch.HalfStorage", Kind::kStorageType, "F16"},
    GlobalEntry{"torch.BFloat16Storage", Kind::kStorageType, "BF16"},
    GlobalEntry{"torch.DoubleStorage", Kind::kStorageType, "F64"},
    GlobalEntry{"torch.LongStorage", Kind::kStorageType, "I64"},
    GlobalEntry{"torch.IntStorage", Kind::kStorageType, "I32"},
    GlobalEntry{"torch.ShortStorage", Kind::kStorageType, "I16"},
    GlobalEntry{"torch.CharStorage", Kind::kStorageType, "I8"},
    GlobalEntry{"torch.ByteStorage", Kind::kStorageType, "U8"},
    GlobalEntry{"torch.BoolStorage", Kind::kStorageType, "BOOL"},
    GlobalEntry{"_codecs.encode", Kind::kPlainData, ""},  // bytes, as protocol 2 writes them
    GlobalEntry{"__builtin__.set", Kind::kPlainData, ""},
    GlobalEntry{"builtins.set", Kind::kPlainData, ""},
    GlobalEntry{"torch.Size", Kind::kPlainData, ""},
    GlobalEntry{"torch.device", Kind::kPlainData, ""},
    GlobalEntry{"torch.float32", Kind::kPlainData, ""},
    GlobalEntry{"torch.float16", Kind::kPlainData, ""},
    GlobalEntry{"torch.bfloat16", Kind::kPlainData, ""},
    GlobalEntry{"torch.float64", Kind::kPlainData, ""},
    GlobalEntry{"torch.int64", Kind::kPlainData, ""},
};

const GlobalEntry& Entry(Values& values, Id id, std::string_view expected) {
  return kGlobals[values.As<Global>(id, expected).index];
}

std::vector<int64_t> Sizes(Values& values, Id id, std::string_view expected) {
  const std::vector<Id>& items = values.As<Tuple>(id, expected).items;
  values.Check(items.size() <= kMaxDims, expected, " of ", items.size(), " dimensions");
  std::vector<int64_t> sizes;
  sizes.reserve(items.size());
  for (const Id item : items) sizes.push_back(values.As<int64_t>(item, expected));
  return sizes;
}

// Python code that would run in a backward pass.
void RequireNoHooks(Values& values, Id id) {
  if (values.Get<None>(id) != nullptr) return;
  values.Check(values.As<Dict>(id, "a dict of hooks").items.empty(), "a tensor with hooks");
}

// (storage, offset, shape, strides, requires_grad, backward hooks[, metadata])
PickledTensor RebuildTensor(Values& values, const std::vector<Id>& arguments) {
  values.Check(arguments.size() == 6 || arguments.size() == 7,
               "_rebuild_tensor_v2: expected 6 arguments");
  values.As<bool>(arguments[4], "requires_grad");
  RequireNoHooks(values, arguments[5]);
  if (arguments.size() == 7 && values.Get<None>(arguments[6]) == nullptr) {
    // Flags such as "negative" or "conjugate", which would change the values.
    values.Check(values.As<Dict>(arguments[6], "a dict of metadata").items.empty(),
                 "a tensor with metadata");
  }
  const Storage& storage = values.As<Storage>(arguments[0], "a storage");
  return {.name = "",
          .storage_key = storage.key,
          .dtype_name = storage.dtype_name,
          .storage_elements = storage.elements,
          .storage_offset = values.As<int64_t>(arguments[1], "a storage offset"),
          .shape = Sizes(values, arguments[2], "a shape"),
          .strides = Sizes(values, arguments[3], "strides")};
}

// (tensor, requires_grad, backward hooks[, attributes]); the attributes, such as mamba_ssm's
// _no_weight_decay, steer training.
PickledTensor RebuildParameter(Values& values, const std::vector<Id>& arguments, size_t expected) {
  values.Check(arguments.size() == expected, "a parameter: expected ", expected, " arguments");
  values.As<bool>(arguments[1], "requires_grad");
  RequireNoHooks(values, arguments[2]);
  return values.As<PickledTensor>(arguments[0], "a parameter's tensor");
}

PickledTensor RebuildAs(Values& values, Kind kind, const std::vector<Id>& arguments) {
  if (kind == Kind::kRebuildTensor) return RebuildTensor(values, arguments);
  if (kind == Kind::kRebuildParameter) return RebuildParameter(values, arguments, 3);
  values.Check(kind == Kind::kRebuildParameterWithState, "a class is not a function");
  return RebuildParameter(values, arguments, 4);
}

// (function, class, its arguments, attributes): a tensor that carries attributes.
PickledTensor RebuildFromType(Values& values, const std::vector<Id>& arguments) {
  values.Check(arguments.size() == 4, "_rebuild_from_type_v2: expected 4 arguments");
  values.Check(Entry(values, arguments[1], "a tensor's class").kind == Kind::kTensorClass,
               "expected a tensor's class");
  return RebuildAs(values, Entry(values, arguments[0], "a global to apply").kind,
                   values.As<Tuple>(arguments[2], "a tuple of arguments").items);
}

// The dict inside of `dict` that a training script would put a state dict in; null where none is.
Dict* Wrapped(Values& values, const Dict& dict) {
  constexpr std::array<std::string_view, 4> kWrappers = {"state_dict", "model_state_dict", "model",
                                                         "module"};
  Dict* found = nullptr;
  std::string_view found_key;
  for (const auto& [key, value] : dict.items) {
    const std::string* name = values.Get<std::string>(key);
    Dict* inner = values.Get<Dict>(value);
    if (name == nullptr || inner == nullptr) continue;
    if (std::ranges::find(kWrappers, *name) == kWrappers.end()) continue;
    values.Check(found == nullptr, "two dicts that may hold the weights: ", Quoted(found_key),
                 " and ", Quoted(*name));
    found = inner;
    found_key = *name;
  }
  return found;
}

}  // namespace

Global FindGlobal(const Values& values, std::string_view module, std::string_view name) {
  const std::string full = StrCat(module, ".", name);
  const auto it = std::ranges::find(kGlobals, full, &GlobalEntry::name);
  Require(it != kGlobals.end(), ErrorCode::kUnsupported, values.source(), ": pickle global ",
          Quoted(full), " is not allowed: a state dict of tensors does not need it");
  return {static_cast<uint8_t>(it - kGlobals.begin())};
}

Value Apply(Values& values, Id callable, Id arguments) {
  const Kind kind = Entry(values, callable, "a global to apply").kind;
  const std::vector<Id>& items = values.As<Tuple>(arguments, "a tuple of arguments").items;
  if (kind == Kind::kOrderedDict) {
    values.Check(items.empty(), "OrderedDict: expected no arguments");
    return Dict{};
  }
  if (kind == Kind::kPlainData) return Opaque{};
  values.Check(kind != Kind::kStorageType, "a storage type is not a function");
  if (kind == Kind::kRebuildFromType) return RebuildFromType(values, items);
  return RebuildAs(values, kind, items);
}

Storage LoadStorage(Values& values, Id id) {
  const std::vector<Id>& items = values.As<Tuple>(id, "a storage's tuple").items;
  values.Check((items.size() == 5 || items.size() == 6) &&
                   values.As<std::string>(items[0], "a storage's tag") == "storage",
               "expected a storage");
  values.Check(items.size() == 5 || values.Get<None>(items[5]) != nullptr, "a view of a storage");
  values.As<std::string>(items[3], "a storage's device");
  const std::string& key = values.As<std::string>(items[2], "a storage's key");
  values.Check(key.size() <= kMaxKeyBytes, "a storage's key of ", key.size(), " bytes");
  const GlobalEntry& type = Entry(values, items[1], "a storage's type");
  values.Check(type.kind == Kind::kStorageType, "expected a storage type");
  return {.key = key,
          .dtype_name = std::string(type.dtype_name),
          .elements = values.As<int64_t>(items[4], "a storage's size")};
}

std::vector<PickledTensor> StateDictTensors(Values& values, Id root) {
  const Dict* dict = &values.As<Dict>(root, "a dict of tensors");
  for (int depth = 0; const Dict* inner = Wrapped(values, *dict); ++depth) {
    values.Check(depth < kMaxWrappers, "a state dict in more than ", kMaxWrappers, " dicts");
    dict = inner;
  }
  std::vector<PickledTensor> tensors;
  std::set<std::string_view> names;
  for (const auto& [key, value] : dict->items) {
    const std::string& name = values.As<std::string>(key, "a tensor's name");
    const PickledTensor* tensor = values.Get<PickledTensor>(value);
    values.Check(tensor != nullptr, Quoted(name), ": expected a tensor");
    values.Check(names.insert(name).second, Quoted(name), " stands twice in the state dict");
    tensors.push_back(*tensor);
    tensors.back().name = name;
  }
  return tensors;
}

}  // namespace pith::pickle
