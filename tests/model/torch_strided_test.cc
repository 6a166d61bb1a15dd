// Strides, offsets and shapes from a hostile file, and dicts around a state dict. What must hold:
// no number of the file is used before it is checked, no allocation is larger than what the config
// asks for, and the message names file and tensor.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "core/error.h"
#include "load/torch_bin.h"
#include "load/torch_pickle.h"
#include "model/model.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

using testing::MakeTensor;
using testing::PickleInt;
using testing::PickleStateDict;
using testing::PickleString;
using testing::PickleTensor;
using testing::TestModel;
using testing::ToBytes;
using testing::ZipBytes;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

// One tensor "t" over a storage of six floats, 0 to 5.
std::string SixFloats(int64_t offset, const std::vector<int64_t>& shape,
                      const std::vector<int64_t>& strides) {
  std::string floats;
  for (const float f : {0.f, 1.f, 2.f, 3.f, 4.f, 5.f}) {
    floats.append(reinterpret_cast<const char*>(&f), sizeof(f));
  }
  return ZipBytes({{.name = "a/data.pkl",
                    .bytes = PickleStateDict(
                        {{"t", PickleTensor("FloatStorage", "0", 6, offset, shape, strides)}})},
                   {.name = "a/data/0", .bytes = floats}});
}

std::vector<float> Values(int64_t offset, const std::vector<int64_t>& shape,
                          const std::vector<int64_t>& strides) {
  const std::vector<std::byte> bytes = ToBytes(SixFloats(offset, shape, strides));
  const TensorTable table = ReadTorchBin(bytes, "model.bin");
  const StoredTensor& tensor = table.at("t");
  std::vector<float> values(*ElementCount(tensor.shape));
  const std::span<std::byte> out = std::as_writable_bytes(std::span(values));
  if (tensor.strides.empty()) {
    EXPECT_EQ(tensor.bytes.size(), out.size());
    std::ranges::copy(tensor.bytes, out.begin());
  } else {
    CopyStrided(tensor, out);
  }
  return values;
}

TEST(TorchStrided, GathersWhatTorchWould) {
  using Floats = std::vector<float>;
  EXPECT_EQ(Values(0, {2, 3}, {3, 1}), (Floats{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(Values(0, {3, 2}, {1, 3}), (Floats{0, 3, 1, 4, 2, 5}));  // transposed
  EXPECT_EQ(Values(1, {2}, {3}), (Floats{1, 4}));                    // a column
  EXPECT_EQ(Values(5, {4}, {0}), (Floats{5, 5, 5, 5}));              // expanded
  EXPECT_EQ(Values(2, {2, 2}, {0, 1}), (Floats{2, 3, 2, 3}));        // a repeated row
  EXPECT_EQ(Values(0, {3, 2}, {2, 0}), (Floats{0, 0, 2, 2, 4, 4}));
  EXPECT_EQ(Values(0, {4, 3}, {1, 1}), (Floats{0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5}));  // windows
  EXPECT_EQ(Values(0, {1, 2, 1, 2}, {kMax, 2, kMin, 1}), (Floats{0, 1, 2, 3}));
  EXPECT_EQ(Values(0, {1, 2, 1, 2}, {kMax, 1, kMax, 3}), (Floats{0, 3, 1, 4}));
  EXPECT_EQ(Values(3, {}, {}), (Floats{3}));
  EXPECT_EQ(Values(6, {0}, {1}), Floats{});
  EXPECT_EQ(Values(0, {5, 0}, {kMax, kMin}), Floats{});
}

TEST(TorchStrided, RefusesWhatLiesOutside) {
  struct Case {
    int64_t offset;
    std::vector<int64_t> shape;
    std::vector<int64_t> strides;
  };
  const std::vector<Case> cases = {
      {0, {2, 3}, {4, 1}},  // one row's end outside
      {1, {3, 2}, {1, 3}},  // transposed, from element 1
      {0, {7}, {1}},
      {6, {1}, {1}},
      {-1, {2}, {0}},
      {0, {2}, {-1}},        // backwards out of the storage
      {5, {6}, {-1}},        // backwards inside of it: torch has no such
      {0, {2, 2}, {-1, 6}},  // a sum that would be in range
      {0, {3}, {kMax}},      // products and sums that wrap around
      {0, {2, 2}, {kMax, kMax}},
      {0, {2, 2, 2}, {kMax, 1, kMax}},
      {kMax, {2}, {1}},
      {kMin, {2}, {1}},
      {0, {2}, {kMin}},
      {0, {int64_t{1} << 61}, {1}},
      {0, {int64_t{1} << 32, int64_t{1} << 32}, {0, 0}},
      {0, {-6}, {1}},
      {0, {-1, -6}, {6, 1}},
      {0, {2, 3}, {3}},
      {0, {6}, {}},
  };
  for (const Case& c : cases) {
    const std::vector<std::byte> bytes = ToBytes(SixFloats(c.offset, c.shape, c.strides));
    const std::string message = testing::ErrorOf([&] { ReadTorchBin(bytes, "model.bin"); });
    EXPECT_TRUE(message.starts_with("model.bin: \"t\": got ")) << message;
  }
}

// The tensors of HfMamba2 as a .bin, with `pickled` in place of the tensor `name` of storage `key`.
void ExpectModelRefused(const std::string& name, const std::string& pickled,
                        const std::string& part) {
  const TestModel model = testing::HfMamba2();
  std::vector<testing::ZipEntry> entries = testing::TorchBinEntries(model.tensors);
  std::string& program = entries[0].bytes;
  const size_t begin = program.find(PickleString(name)) + PickleString(name).size();
  const size_t end = program.find("RtR", begin) + 3;
  program.replace(begin, end - begin, pickled);
  const testing::TempDir dir;
  dir.Write("config.json", model.config);
  dir.Write("pytorch_model.bin", ZipBytes(entries));
  const std::string message =
      testing::ErrorOf([&] { LoadModel(dir.path(), ExecOn(Device::kReference)); });
  EXPECT_NE(message.find("pytorch_model.bin: \"" + name + "\": " + part), std::string::npos)
      << message;
}

// One stored element may stand for 2^61; only the shape of config.json is ever allocated.
TEST(TorchStrided, ExpandedTensorsCannotAskForMemory) {
  const std::string in_proj = "backbone.layers.0.mixer.in_proj.weight";
  const int64_t huge = int64_t{1} << 30;
  ExpectModelRefused(in_proj, PickleTensor("FloatStorage", "2", 480, 0, {huge, huge}, {0, 0}),
                     StrCat("got shape [", huge, ", ", huge, "], expected [60, 8]"));
  ExpectModelRefused(in_proj, PickleTensor("FloatStorage", "2", 480, 0, {8, 60}, {1, 8}),
                     "got shape [8, 60], expected [60, 8]");
}

// A tensor of the model in a type that weights cannot have is named, strided or not.
TEST(TorchStrided, NeededTensorsInOtherTypesAreNamed) {
  const std::string bias = "backbone.layers.0.mixer.in_proj.bias";
  ExpectModelRefused(bias, PickleTensor("DoubleStorage", "3", 30, 0, {60}, {0}),
                     "got dtype \"F64\", expected F32, F16 or BF16");
  ExpectModelRefused(bias, PickleTensor("LongStorage", "3", 30, 0, {60}, {0}),
                     "got dtype \"I64\", expected F32, F16 or BF16");
}

std::string Program(const std::string& value) { return "\x80\x02" + value + "."; }

std::string Dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string text = "}";
  for (const auto& [key, value] : items) text += StrCat(PickleString(key), value, "s");
  return text;
}

std::vector<std::string> Names(const std::string& value) {
  std::vector<std::string> names;
  for (const PickledTensor& t : ReadStateDictPickle(ToBytes(Program(value)), "model.bin")) {
    names.push_back(t.name);
  }
  return names;
}

TEST(TorchWrappers, TheStateDictInsideIsFound) {
  const std::string tensor = PickleTensor("FloatStorage", "0", 6, 0, {6}, {1});
  const std::string inner = Dict({{"a.weight", tensor}, {"b.weight", tensor}});
  const std::vector<std::string> names = {"a.weight", "b.weight"};
  EXPECT_EQ(Names(inner), names);
  for (const std::string key : {"model", "state_dict", "model_state_dict", "module"}) {
    EXPECT_EQ(Names(Dict({{"epoch", PickleInt(3)}, {key, inner}, {"none", "N"}})), names) << key;
    // A tensor beside it (a generator's state, say) does not make the outer dict a state dict.
    EXPECT_EQ(Names(Dict({{key, inner}, {"rng", tensor}})), names) << key;
    EXPECT_EQ(Names(Dict({{"model", Dict({{key, inner}})}})), names) << key;
  }
  EXPECT_EQ(Names("}"), std::vector<std::string>{});
}

void ExpectRefused(const std::string& value, const std::string& part) {
  const std::string message = testing::ErrorOf([&] { Names(value); });
  EXPECT_TRUE(message.starts_with("model.bin: ")) << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(TorchWrappers, WhatIsNotClearIsRefused) {
  const std::string tensor = PickleTensor("FloatStorage", "0", 6, 0, {6}, {1});
  const std::string inner = Dict({{"a.weight", tensor}});
  ExpectRefused(Dict({{"model", inner}, {"state_dict", inner}}), "\"model\" and \"state_dict\"");
  ExpectRefused(Dict({{"model", inner}, {"model", inner}}), "\"model\" and \"model\"");
  ExpectRefused(Dict({{"epoch", PickleInt(3)}, {"weights", inner}}),
                "\"epoch\": expected a tensor");
  ExpectRefused(Dict({{"model", PickleInt(1)}}), "\"model\": expected a tensor");
  ExpectRefused(Dict({{"a.weight", tensor}, {"step", PickleInt(1)}}),
                "\"step\": expected a tensor");
}

// Each record that torch may build, with one wrong argument at a time.
TEST(TorchObjects, WrongArgumentsAreRefused) {
  const std::string tensor = PickleTensor("FloatStorage", "0", 6, 0, {6}, {1});
  const std::string hooks = "ccollections\nOrderedDict\n)R";
  const std::string parameter = "ctorch._utils\n_rebuild_parameter\n";
  const std::string with_state = "ctorch._utils\n_rebuild_parameter_with_state\n";
  const auto one = [](const std::string& value) { return Dict({{"t", value}}); };
  EXPECT_EQ(Names(one(parameter + tensor + "\x88" + hooks + "\x87R")).size(), 1u);
  EXPECT_EQ(Names(one(with_state + "(" + tensor + "\x88" + hooks + "}tR")).size(), 1u);
  ExpectRefused(one(parameter + tensor + "\x88\x86R"), "expected 3 arguments");
  ExpectRefused(one(with_state + tensor + "\x88" + hooks + "\x87R"), "expected 4 arguments");
  ExpectRefused(one(parameter + "N\x88" + hooks + "\x87R"), "a parameter's tensor");
  ExpectRefused(one(parameter + tensor + "N" + hooks + "\x87R"), "requires_grad");
  ExpectRefused(one(parameter + tensor + "\x88" + Dict({{"hook", "N"}}) + "\x87R"), "with hooks");

  const std::string from_type = "ctorch._tensor\n_rebuild_from_type_v2\n";
  const std::string parameter_class = "ctorch.nn.parameter\nParameter\n";
  const std::string arguments = tensor + "\x88" + hooks + "\x87";
  EXPECT_EQ(Names(one(from_type + "(" + parameter + parameter_class + arguments + "}tR")).size(),
            1u);
  ExpectRefused(one(from_type + "(" + parameter + parameter + arguments + "}tR"),
                "a tensor's class");
  ExpectRefused(one(from_type + "(" + parameter_class + parameter_class + arguments + "}tR"),
                "not a function");
  // A function that applies itself would be recursion.
  ExpectRefused(one(from_type + "(" + from_type + parameter_class + arguments + "}tR"),
                "not a function");
  ExpectRefused(one(parameter_class + ")R"), "not a function");
}

}  // namespace
}  // namespace pith
