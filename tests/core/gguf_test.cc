// The GGUF reader: the format's rules one by one. Hostile files are built by hand; each must be
// refused with a message that names the file and the key, tensor or count.
#include "core/gguf.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/gguf_writer.h"
#include "pith/error.h"
#include "tests/load/checkpoint_builder.h"
#include "tests/load/gguf_builder.h"

namespace pith {
namespace {

using testing::GgufTestFile;
using testing::LittleBytes;

constexpr uint64_t kHuge = UINT64_MAX - 1;  // the builder takes the largest number for "right"

GgufTestFile Valid() {
  GgufTestFile file;
  file.Set("general.architecture", testing::GgufText("mamba"));
  file.Set("n", testing::GgufUint32(7));
  file.Set("eps", testing::GgufFloat32(0.5f));
  file.Set("yes", testing::GgufBool(true));
  file.Set("words", testing::GgufTexts({"a", "", "bc"}));
  file.Set("ids", testing::GgufInts({3, -1}));
  file.Set("scores", testing::GgufFloats({-0.5f, 7}));
  file.tensors = {{.name = "a", .dims = {3, 2}, .type = 0, .bytes = std::string(24, 'a')},
                  {.name = "q", .dims = {64}, .type = 8, .bytes = std::string(68, 'q')},
                  {.name = "h", .dims = {1, 1, 5}, .type = 1, .bytes = std::string(10, 'h')}};
  return file;
}

void Read(const std::string& bytes) {
  const std::vector<std::byte> file = testing::ToBytes(bytes);
  const Gguf gguf(file, "m.gguf");
}

void ExpectRefused(const std::string& bytes, const std::string& part) {
  const std::string message = testing::ErrorOf([&] { Read(bytes); });
  EXPECT_NE(message.find("m.gguf"), std::string::npos) << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}
void ExpectRefused(const GgufTestFile& file, const std::string& part) {
  ExpectRefused(file.Bytes(), part);
}

TEST(GgufFile, ReadsWhatWasWritten) {
  for (const uint32_t version : {2u, 3u}) {
    for (const uint64_t alignment : {uint64_t{8}, uint64_t{32}, uint64_t{4096}}) {
      GgufTestFile written = Valid();
      written.version = version;
      written.alignment = alignment;
      written.Set("general.alignment", testing::GgufUint32(static_cast<uint32_t>(alignment)));
      const std::vector<std::byte> bytes = testing::ToBytes(written.Bytes());
      const Gguf file(bytes, "m.gguf");
      EXPECT_EQ(file.String("general.architecture"), "mamba");
      EXPECT_EQ(file.Int("n", 0, 7), 7);
      EXPECT_EQ(file.Number("n"), 7);
      EXPECT_EQ(file.Number("eps"), 0.5);
      EXPECT_TRUE(file.Bool("yes"));
      EXPECT_EQ(file.Strings("words"), (std::vector<std::string_view>{"a", "", "bc"}));
      EXPECT_EQ(file.Ints("ids"), (std::vector<int64_t>{3, -1}));
      EXPECT_EQ(file.Floats("ids"), (std::vector<float>{3, -1}));
      EXPECT_EQ(file.Floats("scores"), (std::vector<float>{-0.5f, 7}));
      ASSERT_EQ(file.tensors().size(), 3u);
      for (size_t i = 0; i < 3; ++i) {
        const GgufTensor& tensor = file.tensors()[i];
        EXPECT_EQ(tensor.name, written.tensors[i].name);
        EXPECT_EQ(
            std::string(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()),
            written.tensors[i].bytes);
      }
      EXPECT_EQ(file.tensors()[0].shape, (std::vector<int64_t>{2, 3}));
      EXPECT_EQ(file.tensors()[1].dtype, DType::kQ8_0);
      EXPECT_EQ(file.tensors()[2].shape, (std::vector<int64_t>{5, 1, 1}));
    }
  }
}

TEST(GgufFile, TheWriterWritesTheFormat) {
  GgufHead head;
  head.AddString("general.architecture", "mamba");
  head.AddUint32("n", 7);
  head.AddFloat32("eps", 0.5f);
  head.AddBool("yes", true);
  const std::vector<std::string> words = {"a", "", "bc"};
  head.AddStrings("words", words);
  const std::vector<int32_t> ids = {3, -1};
  head.AddInt32s("ids", ids);
  const std::vector<float> scores = {-0.5f, 7};
  head.AddFloat32s("scores", scores);
  std::string data;
  for (const testing::GgufTestTensor& tensor : Valid().tensors) {
    const std::vector<int64_t> shape(tensor.dims.rbegin(), tensor.dims.rend());
    const DType dtype = tensor.type == 0   ? DType::kF32
                        : tensor.type == 1 ? DType::kF16
                                           : DType::kQ8_0;
    head.AddTensor(tensor.name, dtype, shape);
    data += tensor.bytes;
    data.resize(static_cast<size_t>(GgufHead::Padded(std::ssize(data))), '\0');
  }
  EXPECT_EQ(head.data_bytes(), std::ssize(data));
  std::string expected = Valid().Bytes();
  expected.resize(static_cast<size_t>(GgufHead::Padded(std::ssize(expected))), '\0');
  EXPECT_EQ(head.Bytes() + data, expected);
}

TEST(GgufFile, RefusesABadBeginning) {
  ExpectRefused("", "begins with \"GGUF\"");
  ExpectRefused("GGU", "begins with");
  ExpectRefused("GGUF\3\0", "version: got 4 bytes");
  GgufTestFile file = Valid();
  file.magic = "GGML";
  ExpectRefused(file, "begins with \"GGUF\"");
  for (const uint32_t version : {0u, 1u, 4u}) {
    file = Valid();
    file.version = version;
    ExpectRefused(file, "version: got " + std::to_string(version));
  }
  file = Valid();
  file.version = 0x03000000;
  ExpectRefused(file, "(big-endian)");
}

TEST(GgufFile, RefusesCountsThatTheFileHasNoRoomFor) {
  for (const uint64_t count : {kHuge, kHuge / 8, uint64_t{1} << 62, uint64_t{100000}}) {
    GgufTestFile file = Valid();
    file.key_count = count;
    ExpectRefused(file, "number of keys: got " + std::to_string(count));
    file = Valid();
    file.tensor_count = count;
    ExpectRefused(file, "number of tensors: got " + std::to_string(count));
    file = Valid();
    const std::string array = LittleBytes<uint32_t>(9) + LittleBytes<uint32_t>(8);
    file.Set("words", array + LittleBytes(count));
    ExpectRefused(file, "words: got " + std::to_string(count));
    file.Set("words", LittleBytes<uint32_t>(9) + LittleBytes<uint32_t>(12) + LittleBytes(count));
    ExpectRefused(file, "words: got " + std::to_string(count));
    file.Set("words", LittleBytes<uint32_t>(8) + LittleBytes(count));
    ExpectRefused(file, "words: got " + std::to_string(count) + " bytes");
  }
}

TEST(GgufFile, RefusesBadKeysAndValues) {
  GgufTestFile file = Valid();
  file.keys.emplace_back("n", testing::GgufUint32(8));
  ExpectRefused(file, "n: the key stands twice");
  file = Valid();
  file.keys.emplace_back("", testing::GgufUint32(8));
  ExpectRefused(file, "a key of 0 bytes");
  file = Valid();
  file.keys.emplace_back(std::string(65536, 'k'), testing::GgufUint32(8));
  ExpectRefused(file, "a key of 65536 bytes");
  file = Valid();
  file.Set("n", LittleBytes<uint32_t>(13) + LittleBytes<uint32_t>(8));
  ExpectRefused(file, "n: got a value of type 13");
  file = Valid();
  file.Set("n", LittleBytes<uint32_t>(9) + LittleBytes<uint32_t>(9) + LittleBytes<uint64_t>(0));
  ExpectRefused(file, "n: got an array of arrays");
  for (const uint32_t alignment : {0u, 24u, 1u << 21}) {
    file = Valid();
    file.Set("general.alignment", testing::GgufUint32(alignment));
    ExpectRefused(file, "general.alignment: got " + std::to_string(alignment));
  }
}

TEST(GgufFile, RefusesBadTensors) {
  const auto with = [](auto change) {
    GgufTestFile file = Valid();
    change(file.tensors);
    return file;
  };
  ExpectRefused(with([](auto& t) { t[1].name = "a"; }), "\"a\": the tensor stands twice");
  ExpectRefused(with([](auto& t) { t[1].name = ""; }), "a name of 0 bytes");
  ExpectRefused(with([](auto& t) { t[0].dims = {}; }), "\"a\": got 0 dimensions");
  ExpectRefused(with([](auto& t) { t[0].dims = {1, 1, 1, 1, 6}; }), "got 5 dimensions");
  ExpectRefused(with([](auto& t) { t[0].dims = {0, 6}; }), "dimension 0: got 0");
  ExpectRefused(with([](auto& t) { t[0].dims = {kHuge}; }), "dimension 0");
  ExpectRefused(with([](auto& t) { t[0].dims = {1u << 31, 1u << 31, 4}; }), "2^62 elements");
  // A product that wraps around to the right number of elements.
  ExpectRefused(with([](auto& t) {
                  t[0].dims = {uint64_t{1} << 32, uint64_t{1} << 32, 6};
                }),
                "2^62 elements");
  ExpectRefused(with([](auto& t) { t[0].dims = {uint64_t{1} << 62}; }), "which no file holds");
  ExpectRefused(with([](auto& t) { t[1].dims = {63}; }), "rows of 63 values");
  ExpectRefused(with([](auto& t) { t[1].dims = {16, 4}; }), "rows of 16 values");
  for (const uint32_t type : {3u, 4u, 13u, 31u, 0xffffffffu}) {
    ExpectRefused(with([&](auto& t) { t[1].type = type; }),
                  "\"q\": got tensor type " + std::to_string(type));
  }
  for (const uint64_t offset : {uint64_t{0}, uint64_t{31}, uint64_t{64}, kHuge, kHuge - 30}) {
    ExpectRefused(with([&](auto& t) { t[1].offset = offset; }),
                  "\"q\": offset: got " + std::to_string(offset) + ", expected 32");
  }
  ExpectRefused(with([](auto& t) { t[2].bytes.pop_back(); }), "\"h\": got 10 bytes at 128");
  ExpectRefused(with([](auto& t) { t[2].dims = {1, 1, 6}; }), "expected an end within");
}

TEST(GgufFile, ReadersNameWhatTheyFind) {
  const std::vector<std::byte> bytes = testing::ToBytes(Valid().Bytes());
  const Gguf file(bytes, "m.gguf");
  const auto expect = [&](auto read, const std::string& part) {
    const std::string message = testing::ErrorOf([&] { read(); });
    EXPECT_NE(message.find("m.gguf: " + part), std::string::npos) << message;
  };
  expect([&] { file.Int("none", 0, 1); }, "none: missing");
  expect([&] { file.Int("n", 0, 6); }, "n: got 7, expected an integer from 0 to 6");
  expect([&] { file.Int("eps", 0, 6); }, "eps: got 0.5, expected an integer");
  expect([&] { file.Int("ids", 0, 6); }, "ids: got an array of 2, expected an integer");
  expect([&] { file.Number("yes"); }, "yes: got true, expected a number");
  expect([&] { file.Bool("n"); }, "n: got 7, expected true or false");
  expect([&] { file.String("words"); }, "words: got an array of 3, expected a string");
  expect([&] { file.Strings("ids"); }, "ids: got an array of 2, expected an array of strings");
  expect([&] { file.Ints("words"); }, "words: got an array of 3, expected an array of integers");
  expect([&] { file.Floats("words"); }, "words: got an array of 3, expected an array of numbers");
  expect([&] { file.Floats("eps"); }, "eps: got 0.5, expected an array of numbers");
  expect([&] { file.Floats("none"); }, "none: missing");
  GgufTestFile odd = Valid();
  odd.Set("yes", LittleBytes<uint32_t>(7) + "\2");
  odd.Set("n", LittleBytes<uint32_t>(10) + LittleBytes(kHuge));
  const std::vector<std::byte> odd_bytes = testing::ToBytes(odd.Bytes());
  const Gguf odd_file(odd_bytes, "m.gguf");
  expect([&] { odd_file.Bool("yes"); }, "yes: got true, expected true or false");
  expect([&] { odd_file.Int("n", 0, INT64_MAX); }, "n: got 18446744073709551614");
}

TEST(GgufFile, DamagedFilesLoadOrThrow) {
  const std::string whole = Valid().Bytes();
  int loaded = 0;
  testing::ForEachDamage(whole, [&](const std::string& damaged) {
    try {
      Read(damaged);
      ++loaded;
      EXPECT_EQ(damaged.size(), whole.size()) << "a truncated file was accepted";
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
    }
  });
  EXPECT_GT(loaded, 0);  // flips in the data are not detectable
}

}  // namespace
}  // namespace pith
