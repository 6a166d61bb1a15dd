// A pickle is a program for a small stack machine, and Python's own machine lets such a program
// import any module and call any function in it. Checkpoints come from strangers, so this file does
// not run Python's machine with some doors shut: it is another machine, which has no doors.
//
// It knows only the opcodes that Python's pickler writes for dicts, lists, tuples, strings, numbers
// and tensors, in protocols 2 to 5, and refuses every other one by its number. A "global", with
// which a pickle names a function or class, is looked up in a short list (torch_objects.cc) and
// becomes an index into that list; applying it makes a plain record of the arguments. So whatever a
// program does, all that comes out is data.
//
// The records lie in one flat array and refer to each other by their place in it. Nothing here
// calls itself, so deep nesting costs no stack, and a record that contains itself costs nothing at
// all. The array, the memo, the marks and the program itself have an upper bound, and each
// instruction adds at most one record or moves indices that stand on the stack already, so a short
// program cannot make a large structure. Unlike in Python, a string is bounded too: it is a
// tensor's name or a key.
//
// Tensors are only described here (which storage, from where, in which shape and strides); whether
// that description fits the file is for torch_bin.cc to check.
#include "load/torch_pickle.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "load/pickle_opcodes.h"
#include "load/stored_tensor.h"
#include "load/torch_objects.h"

namespace pith {
namespace {

using enum pickle::Opcode;
using pickle::Dict;
using pickle::Id;
using pickle::kMaxValues;
using pickle::List;
using pickle::None;
using pickle::Opaque;
using pickle::Tuple;
using pickle::Value;
using pickle::Values;

constexpr size_t kMaxProgramBytes = size_t{16} << 20;
constexpr uint32_t kMaxStringBytes = 4096;

class Interpreter {
 public:
  Interpreter(std::span<const std::byte> program, const std::string& source)
      : program_(program), values_(source) {}

  Unpickled Run() {
    while (true) {
      const uint8_t opcode = Byte();
      if (opcode == kStop) break;
      Execute(opcode);
    }
    Check(marks_.empty() && stack_.size() == 1, "it does not end with one value");
    return {.values = std::move(values_), .root = stack_[0], .size = at()};
  }

 private:
  void Execute(uint8_t opcode) {
    switch (opcode) {
      case kProto:
        return CheckProtocol(Byte());
      case kFrame:  // how many bytes to read ahead; the program is in memory as a whole
        return Check(Number<uint64_t>() <= program_.size() - at(), "a frame is cut short");
      case kMark:
        Check(marks_.size() < kMaxValues, "more than 2^18 marks");
        return marks_.push_back(stack_.size());
      case kNone:
        return Push(None{});
      case kNewTrue:
        return Push(true);
      case kNewFalse:
        return Push(false);
      case kEmptyDict:
        return Push(Dict{});
      case kEmptyList:
        return Push(List{});
      case kEmptyTuple:
        return Push(Tuple{});
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return Push(Tuple{Pop(opcode - kTuple1 + 1)});
      case kTuple:
        return Push(Tuple{PopMark()});
      case kGlobal: {
        const std::string_view module = Line();
        return Push(pickle::FindGlobal(values_, module, Line()));
      }
      default:
        return ExecuteLiteral(opcode);
    }
  }

  void ExecuteLiteral(uint8_t opcode) {
    switch (opcode) {
      case kBinInt1:
        return Push(int64_t{Byte()});
      case kBinInt2:
        return Push(int64_t{Number<uint16_t>()});
      case kBinInt:
        return Push(int64_t{static_cast<int32_t>(Number<uint32_t>())});
      case kLong1:
        return PushLong();
      case kBinFloat:
        Number<uint64_t>();
        return Push(Opaque{});
      case kShortBinUnicode:
        return Push(std::string(Bytes(Byte())));
      case kBinUnicode:
        return Push(std::string(Bytes(Number<uint32_t>())));
      case kShortBinBytes:
        Bytes(Byte());
        return Push(Opaque{});
      case kBinBytes:
        Bytes(Number<uint32_t>());
        return Push(Opaque{});
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
      case kMemoize:
        return Put(static_cast<uint32_t>(memo_.size()));
      case kBinGet:
        return Get(Byte());
      case kLongBinGet:
        return Get(Number<uint32_t>());
      case kSetItem:
        return SetItems(Pop(2));
      case kSetItems:
        return SetItems(PopMark());
      case kAppend:
        return Append(Pop(1));
      case kAppends:
        return Append(PopMark());
      case kBinPersId:
        return Push(pickle::LoadStorage(values_, Pop(1)[0]));
      case kStackGlobal: {
        const std::vector<Id> names = Pop(2);
        return Push(pickle::FindGlobal(values_,
                                       values_.As<std::string>(names[0], "a module's name"),
                                       values_.As<std::string>(names[1], "a global's name")));
      }
      case kReduce: {
        const std::vector<Id> call = Pop(2);
        return Push(pickle::Apply(values_, call[0], call[1]));
      }
      case kBuild:  // torch attaches _metadata, versions of modules: nothing that weights need
        values_.As<Dict>(Pop(1)[0], "the attributes of a dict");
        values_.As<Dict>(Top(), "a dict with attributes");
        return;
      default:
        Throw(ErrorCode::kUnsupported, values_.source(), ": pickle opcode 0x", std::hex,
              int{opcode}, std::dec, " at byte ", at() - 1, " is not allowed in a state dict");
    }
  }

  template <class... Parts>
  void Check(bool ok, const Parts&... parts) const {
    values_.Check(ok, parts...);
  }

  size_t at() const { return values_.at; }

  void CheckProtocol(int protocol) {
    Check(protocol >= 2 && protocol <= 5, "pickle protocol ", protocol, ": expected 2 to 5");
  }

  uint8_t Byte() { return Number<uint8_t>(); }

  template <class T>
  T Number() {
    Check(at() < kMaxProgramBytes, "longer than 16 MiB");
    Check(program_.size() - at() >= sizeof(T), "cut short");
    values_.at += sizeof(T);
    return ReadLittle<T>(program_, at() - sizeof(T));
  }

  // A signed little-endian number of as many bytes as the first byte says. What does not fit 64
  // bits (a random seed, say) is no size of a tensor.
  void PushLong() {
    const std::string_view bytes = Bytes(Byte());
    if (bytes.size() > sizeof(int64_t)) return Push(Opaque{});
    uint64_t bits = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      bits |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
    }
    const unsigned unused = static_cast<unsigned>(8 * (sizeof(int64_t) - bytes.size()));
    Push(bytes.empty() ? int64_t{0} : static_cast<int64_t>(bits << unused) >> unused);
  }

  std::string_view Bytes(uint32_t size) {
    Check(size <= kMaxStringBytes && size <= program_.size() - at(), "a string of ", size,
          " bytes");
    values_.at += size;
    return {reinterpret_cast<const char*>(program_.data()) + at() - size, size};
  }

  std::string_view Line() {
    const auto rest = program_.subspan(at(), std::min<size_t>(program_.size() - at(), 256));
    const auto end = std::ranges::find(rest, std::byte{'\n'});
    Check(end != rest.end(), "a global's name without an end");
    const size_t size = static_cast<size_t>(end - rest.begin());
    values_.at += size + 1;
    return {reinterpret_cast<const char*>(rest.data()), size};
  }

  void Push(Value value) { stack_.push_back(values_.Add(std::move(value))); }

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
    Dict& dict = values_.As<Dict>(Top(), "a dict");
    Check(items.size() % 2 == 0, "a key without a value");
    for (size_t i = 0; i < items.size(); i += 2) dict.items.emplace_back(items[i], items[i + 1]);
  }

  void Append(const std::vector<Id>& items) {
    List& list = values_.As<List>(Top(), "a list");
    list.items.insert(list.items.end(), items.begin(), items.end());
  }

  std::span<const std::byte> program_;
  Values values_;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, Id> memo_;
};

}  // namespace

Unpickled RunPickle(std::span<const std::byte> bytes, const std::string& source) {
  return Interpreter(bytes, source).Run();
}

std::vector<PickledTensor> ReadStateDictPickle(std::span<const std::byte> program,
                                               const std::string& source) {
  Unpickled result = RunPickle(program, source);
  result.values.Check(result.size == program.size(), "bytes behind its end");
  return pickle::StateDictTensors(result.values, result.root);
}

}  // namespace pith
