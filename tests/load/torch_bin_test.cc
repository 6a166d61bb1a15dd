// The torch.save reader. A pickle is a program and a zip a graph of offsets, so the tests are
// mostly of what must be refused: every opcode and global off the list, every range, every
// disagreement between the two copies that a zip keeps of its directory.
#include "load/torch_bin.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "load/torch_pickle.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

using testing::MakeTensor;
using testing::PickleInt;
using testing::PickleStateDict;
using testing::PickleString;
using testing::PickleTensor;
using testing::ToBytes;
using testing::ZipBytes;
using testing::ZipEntry;

void ExpectMessage(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find("model.bin"), std::string::npos) << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

void ExpectRefused(const std::string& file, const std::string& part) {
  const std::vector<std::byte> bytes = ToBytes(file);
  ExpectMessage(testing::ErrorOf([&] { ReadTorchBin(bytes, "model.bin"); }), part);
}

void ExpectPickleRefused(const std::string& program, const std::string& part) {
  const std::vector<std::byte> bytes = ToBytes(program);
  ExpectMessage(testing::ErrorOf([&] { ReadStateDictPickle(bytes, "model.bin"); }), part);
}

// An archive of one storage of 24 bytes, "0", and this pickle.
std::string Archive(const std::string& program) {
  return ZipBytes({{.name = "a/data.pkl", .bytes = program},
                   {.name = "a/data/0", .bytes = std::string(24, 'x')}});
}

std::string OneTensor(const std::string& tensor) {
  return Archive(PickleStateDict({{"t", tensor}}));
}

TEST(TorchBin, ReadsWhatTorchSaveWrites) {
  const std::vector<testing::TestTensor> tensors = {
      MakeTensor("a", DType::kF32, {2, 3}), MakeTensor("b", DType::kBF16, {5}),
      MakeTensor("c", DType::kF16, {2, 1, 3}), MakeTensor("scalar", DType::kF32, {}),
      MakeTensor("four", DType::kF32, {2, 1, 3, 2})};
  for (const testing::ZipStyle style :
       {testing::ZipStyle{false, false}, {true, false}, {false, true}, {true, true}}) {
    const std::vector<std::byte> bytes =
        ToBytes(ZipBytes(testing::TorchBinEntries(tensors), style));
    const TensorTable table = ReadTorchBin(bytes, "f");
    ASSERT_EQ(table.size(), tensors.size());
    for (const auto& tensor : tensors) {
      const StoredTensor& got = table.at(tensor.name);
      EXPECT_EQ(got.dtype_name, tensor.dtype);
      EXPECT_EQ(got.shape, tensor.shape);
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(got.bytes.data()), got.bytes.size()),
                tensor.bytes);
    }
  }
}

TEST(TorchBin, TensorsMayShareAStorageAndBeginInside) {
  const std::vector<std::byte> bytes = ToBytes(Archive(
      PickleStateDict({{"whole", PickleTensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1})},
                       {"tied", PickleTensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1})},
                       {"tail", PickleTensor("FloatStorage", "0", 6, 2, {4, 1}, {1, 99})}})));
  const TensorTable table = ReadTorchBin(bytes, "f");
  EXPECT_EQ(table.at("whole").bytes.data(), table.at("tied").bytes.data());
  EXPECT_EQ(table.at("tail").bytes.data(), table.at("whole").bytes.data() + 8);
  EXPECT_EQ(table.at("tail").bytes.size(), 16u);
}

TEST(TorchBin, RefusesTensorsOutsideOfTheirStorage) {
  const auto tensor = [](int64_t elements, int64_t offset, const std::vector<int64_t>& shape,
                         const std::vector<int64_t>& strides) {
    return OneTensor(PickleTensor("FloatStorage", "0", elements, offset, shape, strides));
  };
  ExpectRefused(tensor(7, 0, {6}, {1}), "\"t\": got a storage of 24 bytes");
  ExpectRefused(tensor(-1, 0, {6}, {1}), "storage");
  ExpectRefused(tensor(6, 0, {7}, {1}), "got shape [7]");
  ExpectRefused(tensor(6, 1, {6}, {1}), "got shape [6] with strides [1] at element 1");
  ExpectRefused(tensor(6, -1, {6}, {1}), "at element -1");
  ExpectRefused(tensor(6, int64_t{1} << 62, {6}, {1}), "at element");
  ExpectRefused(tensor(6, 0, {-6}, {1}), "got shape [-6]");
  ExpectRefused(tensor(6, 0, {int64_t{1} << 32, int64_t{1} << 32}, {1, 1}), "product");
  ExpectRefused(tensor(6, 0, {2, 3}, {3}), "strides");
  ExpectRefused(OneTensor(PickleTensor("FloatStorage", "7", 6, 0, {6}, {1})), "no storage \"7\"");
  ExpectRefused(OneTensor(PickleTensor("FloatStorage", "../0", 6, 0, {6}, {1})), "no storage");
}

TEST(TorchBin, RefusesOtherFormats) {
  ExpectRefused("", "0 bytes");
  ExpectRefused(std::string("\x80\x02\x8a\x0a\x6c\xfc", 6), "neither a zip archive");
  ExpectRefused("hello, world", "neither a zip archive");
  const std::string program = PickleStateDict({});
  ExpectRefused(
      ZipBytes({{.name = "a/data.pkl", .bytes = program}, {.name = "a/byteorder", .bytes = "big"}}),
      "byteorder: got \"big\"");
  ExpectRefused(ZipBytes({{.name = "a/other", .bytes = program}}), "no data.pkl");
  ExpectRefused(ZipBytes({{.name = "a/data.pkl", .bytes = program},
                          {.name = "b/data.pkl", .bytes = program}}),
                "two members named data.pkl");
}

// Compression is what a zip bomb needs; overlapping members are the other way to build one.
TEST(TorchBin, RefusesZipsThatAreNotPlainlyStored) {
  const ZipEntry pickle{.name = "a/data.pkl", .bytes = PickleStateDict({})};
  const auto with = [&](const ZipEntry& entry) { return ZipBytes({pickle, entry}); };
  ExpectRefused(with({.name = "a/data/0", .bytes = "xx", .method = 8}), "compressed (method 8)");
  ExpectRefused(with({.name = "a/data/0", .bytes = "xx", .flags = 1}), "encrypted");
  ExpectRefused(with(pickle), "two members");
  std::string file = ZipBytes({pickle, {.name = "a/data/0", .bytes = "xx"}});
  // Fields of the second entry of the directory, which the local header then contradicts.
  const size_t central = file.rfind("PK\x01\x02");
  std::string moved = file;
  moved.replace(central + 42, 4, std::string(4, '\0'));
  ExpectRefused(moved, "contradicts");
  std::string sized = file;
  sized.replace(central + 20, 8, std::string("\x10\0\0\0\x10\0\0\0", 8));
  ExpectRefused(sized, "\"a/data/0\"");
  std::string renamed = file;
  renamed.replace(central + 46, 8, "a/data/1");
  ExpectRefused(renamed, "contradicts");
  ExpectRefused(file.substr(0, file.size() - 1), "no end record");
  ExpectRefused(file + "x", "no end record");
}

// A member inside of another's data, with headers that agree in all else.
TEST(TorchBin, RefusesOverlappingMembers) {
  const ZipEntry inner{.name = "a/data/0", .bytes = "xx"};
  const std::string record = ZipBytes({inner}).substr(0, 30 + 8 + 2);
  std::string file = ZipBytes({{.name = "a/data.pkl", .bytes = PickleStateDict({})},
                               {.name = "a/blob", .bytes = record},
                               inner});
  const size_t inside = file.find(record);
  ASSERT_LT(inside, size_t{256 * 256});
  const size_t central = file.rfind("PK\x01\x02");
  file[central + 42] = static_cast<char>(inside);
  file[central + 43] = static_cast<char>(inside >> 8);
  ExpectRefused(file, "\"a/blob\" and \"a/data/0\" overlap");
}

TEST(TorchPickle, RefusesEveryOtherGlobalByName) {
  for (const std::string name : {"os\nsystem", "builtins\neval", "torch\nComplexFloatStorage",
                                 "collections\nOrderedDictX", "argparse\nNamespace"}) {
    std::string dotted = name;
    dotted[name.find('\n')] = '.';
    ExpectPickleRefused(
        "\x80\x02"
        "c" +
            name + "\n" + PickleString("touch x") + "\x85R.",
        "pickle global \"" + dotted + "\" is not allowed");
    // The same by the opcodes of protocol 4.
    const auto text = [](const std::string& t) {
      return "\x8c" + std::string(1, static_cast<char>(t.size())) + t;
    };
    const size_t dot = name.find('\n');
    ExpectPickleRefused(
        "\x80\x04" + text(name.substr(0, dot)) + text(name.substr(dot + 1)) + "\x93)R.",
        "pickle global \"" + dotted + "\" is not allowed");
  }
}

TEST(TorchPickle, RefusesEveryOtherOpcode) {
  const std::string known =
      "\x80\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95().BCGJKMNQRX]abcehjqrstu}";
  for (int opcode = 0; opcode < 256; ++opcode) {
    if (known.find(static_cast<char>(opcode)) != std::string::npos) continue;
    ExpectPickleRefused("\x80\x02" + std::string(1, static_cast<char>(opcode)) + "....",
                        "is not allowed in a state dict");
  }
}

TEST(TorchPickle, RefusesMalformedPrograms) {
  const std::string dict = "ccollections\nOrderedDict\n";
  ExpectPickleRefused("", "cut short");
  for (const char protocol : {'\0', '\1', '\6', '\xff'}) {
    ExpectPickleRefused(std::string("\x80") + protocol + "}.", "protocol");
  }
  ExpectPickleRefused(".", "one value");
  ExpectPickleRefused("}}.", "one value");
  ExpectPickleRefused("}(.", "one value");
  ExpectPickleRefused("}.}", "behind its end");
  ExpectPickleRefused("N.", "expected a dict");
  ExpectPickleRefused("R.", "the stack is empty");
  ExpectPickleRefused("}(R.", "the stack is empty");
  ExpectPickleRefused("t.", "no mark");
  ExpectPickleRefused("u.", "no mark");
  ExpectPickleRefused("q\x01.", "the stack is empty");
  ExpectPickleRefused("h\x01.", "no memo 1");
  ExpectPickleRefused("}(Nu.", "a key without a value");
  ExpectPickleRefused("N(NNu.", "expected a dict");
  ExpectPickleRefused("NNR.", "a global to apply");
  ExpectPickleRefused(dict + "NR.", "a tuple of arguments");
  ExpectPickleRefused(dict + "N\x85R.", "expected no arguments");
  ExpectPickleRefused("ctorch\nFloatStorage\n)R.", "not a function");
  ExpectPickleRefused("ctorch._utils\n_rebuild_tensor_v2\n)R.", "6 arguments");
  ExpectPickleRefused("NQ.", "a storage's tuple");
  ExpectPickleRefused(")Q.", "expected a storage");
  ExpectPickleRefused("cx", "without an end");
  ExpectPickleRefused(
      "X\xff\xff\xff\x7f"
      "abc",
      "a string of 2147483647 bytes");
  ExpectPickleRefused(
      "\x8a\x09"
      "123456789.",
      "expected a dict of tensors");
  ExpectPickleRefused(StrCat("}", PickleString("t"), "Ns."), "\"t\": expected a tensor");
  ExpectPickleRefused(StrCat("}", PickleInt(1), "Ns."), "a tensor's name");
  const std::string tensor = PickleTensor("FloatStorage", "0", 6, 0, {6}, {1});
  ExpectPickleRefused(PickleStateDict({{"t", tensor}, {"t", tensor}}), "stands twice");
}

// Nesting and self-reference are data here, never recursion; amounts are bounded.
TEST(TorchPickle, HostileNestingAndSizeAreHarmless) {
  ExpectPickleRefused("N" + std::string(200'000, '\x85') + ".", "expected a dict");
  ExpectPickleRefused(std::string(3'000'000, 'N') + ".", "more than 2^18 values");
  ExpectPickleRefused(std::string(3'000'000, '(') + ".", "more than 2^18 marks");
  std::string puts = "}";
  for (uint32_t i = 0; i < 300'000; ++i) {
    puts += "r";
    for (int b = 0; b < 4; ++b) puts += static_cast<char>(i >> (8 * b));
  }
  ExpectPickleRefused(puts + ".", "more than 2^18 memos");
  std::string gets = "}q\x01";
  for (int i = 0; i < 300'000; ++i) gets += "h\x01";
  ExpectPickleRefused(gets + ".", "more than 2^18 values on the stack");
  ExpectPickleRefused("}q\x01" + PickleString("t") + "h\x01s.", "\"t\": expected a tensor");
  std::string longest = "}";
  while (longest.size() < 17 << 20) longest += "q\x01";
  ExpectPickleRefused(longest + ".", "longer than 16 MiB");
  // Each append moves all that the memo can put on the stack: two bytes of program an item.
  std::string lists = "]q\x01(";
  for (int i = 0; i < 200'000; ++i) lists += "h\x01";
  ExpectPickleRefused(lists + "e.", "expected a dict of tensors");
  // A dict that holds itself as its own model, and one model too deep.
  ExpectPickleRefused("}q\x01" + PickleString("model") + "h\x01s.", "in more than 4 dicts");
}

TEST(TorchPickle, IntegersOfEveryWidth) {
  for (const int64_t offset : {0L, 255L, 256L, 65535L, 65536L, 2147483647L, 2147483648L, -1L}) {
    const std::vector<std::byte> program =
        ToBytes(PickleStateDict({{"t", PickleTensor("HalfStorage", "k", 6, offset, {6}, {1})}}));
    EXPECT_EQ(ReadStateDictPickle(program, "f").at(0).storage_offset, offset);
  }
}

TEST(TorchBin, DamagedFilesLoadOrThrow) {
  const std::vector<testing::TestTensor> tensors = {MakeTensor("a", DType::kF32, {2, 3}),
                                                    MakeTensor("b", DType::kBF16, {5})};
  for (const bool zip64 : {false, true}) {
    const std::string file =
        ZipBytes(testing::TorchBinEntries(tensors), {.zip64 = zip64, .sizes_follow = zip64});
    int loaded = 0;
    testing::ForEachDamage(file, [&](const std::string& damaged) {
      const std::vector<std::byte> bytes = ToBytes(damaged);
      try {
        for (const auto& [name, tensor] : ReadTorchBin(bytes, "f")) {
          const int64_t begin = tensor.bytes.data() - bytes.data();
          EXPECT_GE(begin, 0);
          EXPECT_LE(begin + std::ssize(tensor.bytes), std::ssize(bytes));
        }
        ++loaded;
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
      }
    });
    EXPECT_GT(loaded, 0);
  }
}

}  // namespace
}  // namespace pith
