// GGUF files in every type that pith reads, against their own weights in float64, and llama.cpp on
// the same files (tools/golden/gguf_logits.py). Each file is drawn from integers by the generator's
// rules, so none is stored. The bound is twice llama.cpp's own error: on the same file where the
// weights are quantised, which llama.cpp multiplies with quantised activations, and in f32 for F32,
// F16 and BF16, whose weights pith widens exactly.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "model/model.h"
#include "tests/device.h"
#include "tests/golden/batch_logits.h"
#include "tests/load/checkpoint_builder.h"
#include "tests/load/gguf_builder.h"

namespace pith {
namespace {

using testing::GgufTestFile;

constexpr uint64_t kWidth = 256, kInner = 512, kVocab = 96, kConv = 4, kLayers = 2, kRank = 24;
constexpr uint64_t kHeads = 8, kGroups = 2;

struct Type {
  std::string name;
  uint32_t number;
  size_t block, bytes;
};
const Type kTypes[] = {{"F32", 0, 1, 4},      {"F16", 1, 1, 2},    {"BF16", 30, 1, 2},
                       {"Q8_0", 8, 32, 34},   {"Q4_0", 2, 32, 18}, {"Q4_K", 12, 256, 144},
                       {"Q6_K", 14, 256, 210}};

// splitmix64 (Steele, Lea & Flood 2014), from tensor · 2^32.
std::string Draw(uint64_t tensor, size_t count) {
  std::string bytes;
  for (uint64_t i = 1; bytes.size() < count; ++i) {
    uint64_t z = (tensor << 32) + i * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    bytes += testing::LittleBytes(z ^ (z >> 31));
  }
  bytes.resize(count);
  return bytes;
}

float Signed(char byte) { return static_cast<float>(static_cast<uint8_t>(byte)) - 128; }

// Makes the two bytes at `at` an f16 of this exponent; ten of their bits are its mantissa.
void SetScale(std::string& bytes, size_t at, int exponent) {
  const uint16_t bits =
      static_cast<uint16_t>((exponent + 15) << 10) |
      (static_cast<uint8_t>(bytes[at]) | (static_cast<uint8_t>(bytes[at + 1]) << 8 & 0x300));
  bytes.replace(at, 2, testing::LittleBytes(bits));
}

std::string Matrix(const Type& type, uint64_t tensor, size_t count) {
  std::string bytes;
  if (type.block == 1) {
    for (const char byte : Draw(tensor, count)) {
      const float value = Signed(byte) * 0x1p-10f;
      if (type.name == "F32") bytes += testing::LittleBytes(std::bit_cast<uint32_t>(value));
      if (type.name == "F16") bytes += testing::LittleBytes(ToF16(value).bits);
      if (type.name == "BF16") bytes += testing::LittleBytes(ToBF16(value).bits);
    }
    return bytes;
  }
  bytes = Draw(tensor, count / type.block * type.bytes);
  for (size_t at = 0; at < bytes.size(); at += type.bytes) {
    if (type.name == "Q8_0") SetScale(bytes, at, -11);
    if (type.name == "Q4_0") SetScale(bytes, at, -7);
    if (type.name == "Q4_K") {
      SetScale(bytes, at, -13);
      SetScale(bytes, at + 2, -10);
    }
    if (type.name != "Q6_K") continue;
    for (size_t i = 192; i < 208; ++i) bytes[at + i] = static_cast<char>((bytes[at + i] & 31) - 16);
    SetScale(bytes, at + 208, -12);
  }
  return bytes;
}

std::string Vector(const std::string& name, uint64_t tensor, size_t count) {
  std::string bytes;
  for (const char byte : Draw(tensor, count)) {
    float value = Signed(byte) / 1024 + (name.ends_with("bias") ? 0.0f : 1.0f);
    if (name.ends_with("ssm_a")) value = -(1 + (Signed(byte) + 128) / 32);
    if (name.ends_with("ssm_dt.bias")) value = (Signed(byte) + 128) / 64 - 5;
    if (name.ends_with("conv1d.weight")) value = Signed(byte) / 256;
    bytes += testing::LittleBytes(std::bit_cast<uint32_t>(value));
  }
  return bytes;
}

class Builder {
 public:
  Builder(const std::string& model, const Type& type) : type_(type) {
    const bool two = model == "mamba2";
    const std::string arch = two ? "mamba2" : "mamba";
    const uint64_t state = two ? 64 : 16;
    file_.Set("general.architecture", testing::GgufText(arch));
    const auto set = [&](const char* key, uint64_t value) {
      file_.Set(arch + key, testing::GgufUint32(static_cast<uint32_t>(value)));
    };
    set(".embedding_length", kWidth), set(".block_count", kLayers), set(".vocab_size", kVocab);
    set(".ssm.conv_kernel", kConv), set(".ssm.inner_size", kInner), set(".ssm.state_size", state);
    set(".ssm.time_step_rank", two ? kHeads : kRank);
    if (two) set(".ssm.group_count", kGroups);
    if (!two) file_.Set("mamba.ssm.dt_b_c_rms", testing::GgufBool(model == "mamba-rms"));
    file_.Set(arch + ".attention.layer_norm_rms_epsilon", testing::GgufFloat32(1e-5f));
    AddMatrix("token_embd.weight", kVocab, kWidth);
    AddVector("output_norm.weight", {kWidth});
    for (uint64_t layer = 0; layer < kLayers; ++layer) {
      two ? AddMamba2(StrCat("blk.", layer, "."), state)
          : AddMamba1(StrCat("blk.", layer, "."), state);
    }
  }
  std::string Bytes() const { return file_.Bytes(); }

 private:
  // Tensors are numbered in the file's order.
  void AddMatrix(const std::string& name, uint64_t rows, uint64_t cols) {
    const std::string bytes = Matrix(type_, file_.tensors.size(), rows * cols);
    file_.tensors.push_back(
        {.name = name, .dims = {cols, rows}, .type = type_.number, .bytes = bytes});
  }
  void AddVector(const std::string& name, const std::vector<uint64_t>& dims) {
    size_t count = 1;
    for (const uint64_t size : dims) count *= size;
    const std::string bytes = Vector(name, file_.tensors.size(), count);
    file_.tensors.push_back({.name = name, .dims = dims, .type = 0, .bytes = bytes});
  }
  void AddFront(const std::string& p, uint64_t rows, uint64_t channels) {
    AddVector(p + "attn_norm.weight", {kWidth});
    AddMatrix(p + "ssm_in.weight", rows, kWidth);
    AddVector(p + "ssm_conv1d.weight", {kConv, channels});
    AddVector(p + "ssm_conv1d.bias", {channels});
  }
  void AddMamba1(const std::string& p, uint64_t state) {
    AddFront(p, 2 * kInner, kInner);
    AddMatrix(p + "ssm_x.weight", kRank + 2 * state, kInner);
    const Type type = std::exchange(type_, kTypes[0]);  // its rows are no whole blocks
    const size_t at = file_.tensors.size();
    AddVector(p + "ssm_dt.weight", {kRank, kInner});
    file_.tensors[at].bytes = Matrix(type_, at, kRank * kInner);
    type_ = type;
    AddVector(p + "ssm_dt.bias", {kInner});
    AddVector(p + "ssm_a", {state, kInner});
    AddVector(p + "ssm_d", {kInner});
    AddMatrix(p + "ssm_out.weight", kWidth, kInner);
  }
  void AddMamba2(const std::string& p, uint64_t state) {
    const uint64_t channels = kInner + 2 * kGroups * state;
    AddFront(p, kInner + channels + kHeads, channels);
    AddVector(p + "ssm_dt.bias", {kHeads});
    AddVector(p + "ssm_a", {1, kHeads});
    AddVector(p + "ssm_d", {1, kHeads});
    AddVector(p + "ssm_norm.weight", {kInner / kGroups, kGroups});
    AddMatrix(p + "ssm_out.weight", kWidth, kInner);
  }

  Type type_;
  GgufTestFile file_;
};

TEST(GgufGolden, EveryTypeIsWithinThePeersError) {
  const auto path = std::filesystem::path(PITH_SOURCE_DIR) / "tests/golden/gguf/expected.json";
  const Json expected = ParseJson(ReadFile(path), path.string());
  const auto ids = expected["ids"].get<std::vector<int32_t>>();
  ASSERT_EQ(expected["cases"].size(), 15u);
  const testing::TempDir dir;
  for (const Json& one : expected["cases"]) {
    const auto type = std::ranges::find(kTypes, one["type"].get<std::string>(), &Type::name);
    ASSERT_NE(type, std::end(kTypes));
    dir.Write("model.gguf", Builder(one["model"], *type).Bytes());
    for (const Device device : testing::ReferenceAndTested()) {
      SCOPED_TRACE(StrCat(one["model"].get<std::string>(), ", ", type->name, ", ",
                          testing::DeviceName(device)));
      const Exec exec = ExecOn(device, 2);
      const Model model = LoadModel(dir.path() / "model.gguf", exec).model;
      const testing::Rows logits = testing::BatchLogits(model, exec, {ids})[0];
      const char* const peer = type->block > 1 ? "peer_error" : "peer_error_f32";
      const double bound = 2 * one[peer].get<double>();
      const size_t first = logits.size() - one["logits"].size();
      for (size_t r = first; r < logits.size(); ++r) {
        for (size_t i = 0; i < kVocab; ++i) {
          ASSERT_NEAR(logits[r][i], one["logits"][r - first][i].get<double>(), bound)
              << "row " << r << ", id " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace pith
