// The safetensors reader: the format's rules one by one. Hostile files are built by hand; each must
// be refused with a message that names the file and, where there is one, the tensor.
#include "load/safetensors.h"

#include <gtest/gtest.h>

#include "pith/error.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

using testing::SafetensorsFile;
using testing::ToBytes;

TensorTable Read(const std::string& file) {
  const std::vector<std::byte> bytes = ToBytes(file);
  return ReadSafetensors(bytes, "model.safetensors");
}

void ExpectRefused(const std::string& file, const std::string& part) {
  const std::string message = testing::ErrorOf([&] { Read(file); });
  EXPECT_NE(message.find("model.safetensors"), std::string::npos) << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(Safetensors, ReadsWhatWasWritten) {
  const std::vector<testing::TestTensor> tensors = {testing::MakeTensor("a", DType::kF32, {2, 3}),
                                                    testing::MakeTensor("b", DType::kBF16, {5}),
                                                    testing::MakeTensor("c", DType::kF16, {})};
  const std::vector<std::byte> bytes = ToBytes(testing::SafetensorsBytes(tensors));
  const TensorTable table = ReadSafetensors(bytes, "f");
  ASSERT_EQ(table.size(), 3u);
  for (const auto& tensor : tensors) {
    const StoredTensor& got = table.at(tensor.name);
    EXPECT_EQ(got.dtype_name, tensor.dtype);
    EXPECT_EQ(got.shape, tensor.shape);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(got.bytes.data()), got.bytes.size()),
              tensor.bytes);
  }
}

TEST(Safetensors, EmptyTensorsAndOtherDTypesAreValid) {
  const TensorTable table = Read(SafetensorsFile(
      R"({"e":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]},
          "i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})",
      "12345678"));
  EXPECT_EQ(table.at("e").bytes.size(), 0u);
  EXPECT_FALSE(table.at("i").dtype.has_value());
}

TEST(Safetensors, RefusesABadHeader) {
  ExpectRefused("", "0 bytes");
  ExpectRefused("1234567", "7 bytes");
  ExpectRefused(std::string("\x10\0\0\0\0\0\0\0", 8) + "{}", "a header of 16 bytes");
  ExpectRefused(std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8) + "{}", "at most 100000000");
  ExpectRefused(std::string("\x00\xe1\xf5\x05\0\0\0\0", 8) + "{}", "left in the file");
  ExpectRefused(SafetensorsFile("", ""), "begin with '{'");
  ExpectRefused(SafetensorsFile("[]", ""), "begin with '{'");
  ExpectRefused(SafetensorsFile("{\"a\":", ""), "JSON");
  ExpectRefused(SafetensorsFile(R"({"a":3})", ""), "object");
  std::string deep = R"({"a":)";
  for (int i = 0; i < 100000; ++i) deep += R"({"a":)";
  ExpectRefused(SafetensorsFile(deep, ""), "nested");
}

TEST(Safetensors, RefusesABadEntry) {
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return SafetensorsFile(R"({"t":{"dtype":)" + dtype + R"(,"shape":)" + shape +
                               R"(,"data_offsets":)" + offsets + "}}",
                           "12345678");
  };
  EXPECT_EQ(Read(entry("\"F32\"", "[2]", "[0,8]")).size(), 1u);
  ExpectRefused(entry("\"F32\"", "[2]", "[0,9]"), "data_offsets");
  ExpectRefused(entry("\"F32\"", "[2]", "[8,0]"), "begin <= end");
  ExpectRefused(entry("\"F32\"", "[2]", "[0]"), "data_offsets");
  ExpectRefused(entry("\"F32\"", "[2]", "[-8,0]"), "data_offsets");
  ExpectRefused(entry("\"F32\"", "[2]", "[0,18446744073709551615]"), "data_offsets");
  ExpectRefused(entry("\"F32\"", "[2]", "[0,8.0]"), "data_offsets");
  ExpectRefused(entry("\"F32\"", "[3]", "[0,8]"), "\"t\": got 8 bytes");
  ExpectRefused(entry("\"F32\"", "[-2]", "[0,8]"), "shape");
  ExpectRefused(entry("\"F32\"", "2", "[0,8]"), "shape");
  // Products that wrap around to the right number of bytes.
  ExpectRefused(entry("\"F32\"", "[4294967296,4294967296,2]", "[0,8]"), "got 8 bytes");
  ExpectRefused(entry("\"F32\"", "[4611686018427387904]", "[0,0]"), "got 0 bytes");
  ExpectRefused(entry("\"F3\"", "[2]", "[0,8]"), "dtype \"F3\"");
  ExpectRefused(entry("32", "[2]", "[0,8]"), "dtype");
  ExpectRefused(SafetensorsFile(R"({"t":{"shape":[2],"data_offsets":[0,8]}})", "12345678"),
                "dtype: missing");
}

TEST(Safetensors, RefusesOverlapHolesAndTrailingBytes) {
  const auto two = [](const std::string& a, const std::string& b, const std::string& data) {
    return SafetensorsFile(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":)" + a +
                               R"(},"b":{"dtype":"F16","shape":[2],"data_offsets":)" + b + "}}",
                           data);
  };
  EXPECT_EQ(Read(two("[4,8]", "[0,4]", "12345678")).size(), 2u);
  ExpectRefused(two("[0,4]", "[2,6]", "123456"), "overlaps");
  ExpectRefused(two("[0,4]", "[0,4]", "1234"), "overlaps");
  ExpectRefused(two("[0,4]", "[6,10]", "1234567890"), "hole");
  ExpectRefused(two("[2,6]", "[6,10]", "1234567890"), "hole");
  ExpectRefused(two("[0,4]", "[4,8]", "123456789"), "got 9 bytes of data, expected the 8");
  ExpectRefused(SafetensorsFile(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                                R"("a":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}})",
                                "12345678"),
                "twice");
}

TEST(Safetensors, DamagedFilesLoadOrThrow) {
  const std::string file =
      testing::SafetensorsBytes({testing::MakeTensor("a", DType::kF32, {2, 3}),
                                 testing::MakeTensor("b.weight", DType::kBF16, {5})});
  int loaded = 0;
  testing::ForEachDamage(file, [&](const std::string& damaged) {
    try {
      Read(damaged);
      ++loaded;
      EXPECT_EQ(damaged.size(), file.size()) << "a truncated file was accepted";
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
    }
  });
  EXPECT_GT(loaded, 0);  // flips in the data are not detectable
}

}  // namespace
}  // namespace pith
