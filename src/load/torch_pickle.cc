#include "load/torch_pickle.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>

#include "core/error.h"
#include "load/stored_tensor.h"

namespace pith {
namespace {

// A tensor takes some 20 values and 200 bytes of program; the largest models have 1,000 tensors.
constexpr size_t kMaxValues = size_t{1} << 18;
constexpr size_t kMaxProgramBytes = size_t{16} << 20;
constexpr size_t kMaxKeyBytes = 64;
constexpr uint32_t kMaxStringBytes = 4096;

// Opcodes of pickle protocol 2 (Lib/pickle.py).
enum Opcode : uint8_t {
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kMark = '(',
  kEmptyTuple = ')',
  kStop = '.',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kBuild = 'b',
  kGlobal = 'c',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
};

enum class Global : uint8_t { kOrderedDict, kRebuildTensor, kFloat, kHalf, kBFloat16 };

struct GlobalName {
  std::string_view name;
  Global global;
};
constexpr std::array kGlobals = {
    GlobalName{"collections.OrderedDict", Global::kOrderedDict},
    GlobalName{"torch._utils._rebuild_tensor_v2", Global::kRebuildTensor},
    GlobalName{"torch.FloatStorage", Global::kFloat},
    GlobalName{"torch.HalfStorage", Global::kHalf},
    GlobalName{"torch.BFloat16Storage", Global::kBFloat16},
};

using Id = uint32_t;  // index into the array of values
struct None {};
struct Tuple {
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
using Value =
    std::variant<None, bool, int64_t, std::string, Tuple, Dict, Global, Storage, PickledTensor>;

class Interpreter {
 public:
  Interpreter(std::span<const std::byte> program, const std::string& source)
      : program_(program), source_(source) {}

  std::vector<PickledTensor> Run() {
    Check(program_.size() <= kMaxProgramBytes, "longer than 16 MiB");
    while (true) {
      const uint8_t opcode = Byte();
      if (opcode == kStop) break;
      Execute(opcode);
    }
    Check(at_ == program_.size(), "bytes behind its end");
    Check(marks_.empty() && stack_.size() == 1, "it does not end with one value");
    return StateDict(As<Dict>(stack_[0], "a dict of tensors"));
  }

 private:
  void Execute(uint8_t opcode) {
    switch (opcode) {
      case kProto:
        return Check(Byte() == 2, "pickle protocol: expected 2");
      case kMark:
        Check(marks_.size() < kMaxValues, "more than 2^18 marks");
        return marks_.push_back(stack_.size());
      case kNone:
        return Push(None{});
      case kNewTrue:
        return Push(true);
      case kNewFalse:
        return Push(false);
      case kBinInt1:
        return Push(int64_t{Byte()});
      case kBinInt2:
        return Push(int64_t{Number<uint16_t>()});
      case kBinInt:
        return Push(int64_t{static_cast<int32_t>(Number<uint32_t>())});
      case kLong1:
        return Push(Long());
      case kBinUnicode:
        return Push(String());
      case kGlobal:
        return Push(FindGlobal());
      case kEmptyDict:
        return Push(Dict{});
      case kEmptyTuple:
        return Push(Tuple{});
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return Push(Tuple{Pop(opcode - kTuple1 + 1)});
      case kTuple:
        return Push(Tuple{PopMark()});
      default:
        return ExecuteOnValues(opcode);
    }
  }

  void ExecuteOnValues(uint8_t opcode) {
    switch (opcode) {
      case kBinPut:
        return Put(Byte());
      case kLongBinPut:
        return Put(Number<uint32_t>());
      case kBinGet:
        return Get(Byte());
      case kLongBinGet:
        return Get(Number<uint32_t>());
      case kSetItem:
        return SetItems(Pop(2));
      case kSetItems:
        return SetItems(PopMark());
      case kBinPersId:
        return Push(LoadStorage(Pop(1)[0]));
      case kReduce:
        return Reduce();
      case kBuild:  // torch attaches _metadata, versions of modules: nothing that weights need
        return static_cast<void>((As<Dict>(Pop(1)[0], "the attributes of a dict"),
                                  As<Dict>(Top(), "a dict with attributes")));
      default:
        Throw(ErrorCode::kUnsupported, source_, ": pickle opcode 0x", std::hex, int{opcode},
              std::dec, " at byte ", at_ - 1, " is not allowed in a state dict");
    }
  }

  template <class... Parts>
  void Check(bool ok, const Parts&... parts) const {
    if (!ok) Throw(ErrorCode::kCorruptData, source_, ": bad pickle at byte ", at_, ": ", parts...);
  }

  uint8_t Byte() { return Number<uint8_t>(); }

  template <class T>
  T Number() {
    Check(program_.size() - at_ >= sizeof(T), "cut short");
    at_ += sizeof(T);
    return ReadLittle<T>(program_, at_ - sizeof(T));
  }

  // A signed little-endian number of as many bytes as the first byte says.
  int64_t Long() {
    const size_t size = Byte();
    Check(size <= sizeof(int64_t), "an integer of ", size, " bytes");
    if (size == 0) return 0;
    uint64_t bits = 0;
    for (size_t i = 0; i < size; ++i) bits |= uint64_t{Byte()} << (8 * i);
    const unsigned unused = static_cast<unsigned>(8 * (sizeof(int64_t) - size));
    return static_cast<int64_t>(bits << unused) >> unused;
  }

  std::string String() {
    const uint32_t size = Number<uint32_t>();
    Check(size <= kMaxStringBytes && size <= program_.size() - at_, "a string of ", size, " bytes");
    at_ += size;
    return {reinterpret_cast<const char*>(program_.data()) + at_ - size, size};
  }

  std::string_view Line() {
    const auto rest = program_.subspan(at_, std::min<size_t>(program_.size() - at_, 256));
    const auto end = std::ranges::find(rest, std::byte{'\n'});
    Check(end != rest.end(), "a global's name without an end");
    const size_t size = static_cast<size_t>(end - rest.begin());
    at_ += size + 1;
    return {reinterpret_cast<const char*>(rest.data()), size};
  }

  Global FindGlobal() {
    const std::string_view module = Line();
    const std::string name = StrCat(module, ".", Line());
    const auto it = std::ranges::find(kGlobals, name, &GlobalName::name);
    Require(it != kGlobals.end(), ErrorCode::kUnsupported, source_, ": pickle global ",
            Quoted(name), " is not allowed: a state dict of float32, float16 or bfloat16 tensors",
            " does not need it");
    return it->global;
  }

  void Push(Value value) {
    Check(values_.size() < kMaxValues, "more than 2^18 values");
    values_.push_back(std::move(value));
    stack_.push_back(static_cast<Id>(values_.size() - 1));
  }

  Id Top() const {
    Check(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "the stack is empty");
    return stack_.back();
  }

  std::vector<Id> Pop(size_t count) {
    const size_t floor = marks_.empty() ? 0 : marks_.back();
    Check(stack_.size() - floor >= count, "the stack is empty");
    std::vector<Id> ids(stack_.end() - count, stack_.end());
    stack_.resize(stack_.size() - count);
    return ids;
  }

  std::vector<Id> PopMark() {
    Check(!marks_.empty(), "no mark on the stack");
    std::vector<Id> ids = Pop(stack_.size() - marks_.back());
    marks_.pop_back();
    return ids;
  }

  void Put(uint32_t key) {
    memo_[key] = Top();
    Check(memo_.size() <= kMaxValues, "more than 2^18 memos");
  }

  void Get(uint32_t key) {
    const auto it = memo_.find(key);
    Check(it != memo_.end(), "no memo ", key);
    Check(stack_.size() < kMaxValues, "more than 2^18 values on the stack");
    stack_.push_back(it->second);
  }

  void SetItems(const std::vector<Id>& items) {
    Dict& dict = As<Dict>(Top(), "a dict");
    Check(items.size() % 2 == 0, "a key without a value");
    for (size_t i = 0; i < items.size(); i += 2) dict.items.emplace_back(items[i], items[i + 1]);
  }

  template <class T>
  T& As(Id id, std::string_view expected) {
    T* value = std::get_if<T>(&values_[id]);
    Check(value != nullptr, "expected ", expected);
    return *value;
  }

  // ('storage', type, key, device, number of elements)
  Storage LoadStorage(Id id) {
    const std::vector<Id>& items = As<Tuple>(id, "a storage's tuple").items;
    Check(items.size() == 5 && As<std::string>(items[0], "a storage's tag") == "storage",
          "expected a storage");
    As<std::string>(items[3], "a storage's device");
    const std::string& key = As<std::string>(items[2], "a storage's key");
    Check(key.size() <= kMaxKeyBytes, "a storage's key of ", key.size(), " bytes");
    return {.key = key,
            .dtype_name = DTypeName(As<Global>(items[1], "a storage's type")),
            .elements = As<int64_t>(items[4], "a storage's size")};
  }

  std::string DTypeName(Global global) const {
    if (global == Global::kFloat) return "F32";
    if (global == Global::kHalf) return "F16";
    Check(global == Global::kBFloat16, "expected a storage type");
    return "BF16";
  }

  void Reduce() {
    const std::vector<Id> call = Pop(2);
    const Global callable = As<Global>(call[0], "a global to apply");
    const std::vector<Id>& arguments = As<Tuple>(call[1], "a tuple of arguments").items;
    if (callable == Global::kOrderedDict) {
      Check(arguments.empty(), "OrderedDict: expected no arguments");
      return Push(Dict{});
    }
    Check(callable == Global::kRebuildTensor, "a storage type is not a function");
    Push(RebuildTensor(arguments));
  }

  // (storage, offset, shape, strides, requires_grad, backward hooks)
  PickledTensor RebuildTensor(const std::vector<Id>& arguments) {
    Check(arguments.size() == 6, "_rebuild_tensor_v2: expected 6 arguments");
    As<bool>(arguments[4], "requires_grad");
    Check(As<Dict>(arguments[5], "a dict of hooks").items.empty(), "a tensor with hooks");
    const Storage& storage = As<Storage>(arguments[0], "a storage");
    return {.name = "",
            .storage_key = storage.key,
            .dtype_name = storage.dtype_name,
            .storage_elements = storage.elements,
            .storage_offset = As<int64_t>(arguments[1], "a storage offset"),
            .shape = Sizes(arguments[2], "a shape"),
            .strides = Sizes(arguments[3], "strides")};
  }

  std::vector<int64_t> Sizes(Id id, std::string_view expected) {
    const std::vector<Id>& items = As<Tuple>(id, expected).items;
    Check(items.size() <= 16, expected, " of ", items.size(), " dimensions");
    std::vector<int64_t> sizes;
    sizes.reserve(items.size());
    for (const Id item : items) sizes.push_back(As<int64_t>(item, expected));
    return sizes;
  }

  std::vector<PickledTensor> StateDict(const Dict& dict) {
    std::vector<PickledTensor> tensors;
    std::set<std::string_view> names;
    for (const auto& [key, value] : dict.items) {
      const std::string& name = As<std::string>(key, "a tensor's name");
      const PickledTensor* tensor = std::get_if<PickledTensor>(&values_[value]);
      Check(tensor != nullptr, Quoted(name), ": expected a tensor");
      Check(names.insert(name).second, Quoted(name), " stands twice in the state dict");
      tensors.push_back(*tensor);
      tensors.back().name = name;
    }
    return tensors;
  }

  std::span<const std::byte> program_;
  const std::string& source_;
  size_t at_ = 0;
  std::vector<Value> values_;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, Id> memo_;
};

}  // namespace

std::vector<PickledTensor> ReadStateDictPickle(std::span<const std::byte> program,
                                               const std::string& source) {
  return Interpreter(program, source).Run();
}

}  // namespace pith
