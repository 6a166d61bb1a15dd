// A model from a GGUF file: every tensor arrives under mamba_ssm's name with the values that the
// file has, and each one that is missing, left over or of another shape is named as the file names
// it.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/error.h"
#include "load/checkpoint.h"
#include "tests/load/checkpoint_builder.h"
#include "tests/load/gguf_builder.h"
#include "tests/model/recorded_model.h"

namespace pith {
namespace {

using testing::GgufTestFile;
using testing::GgufTestTensor;
using testing::GgufUint32;
using testing::TestValue;

constexpr std::string_view kMixer = "backbone.layers.0.mixer.";

GgufTestTensor Tensor(const std::string& name, DType dtype, const std::vector<int64_t>& shape) {
  const uint32_t type = dtype == DType::kF32 ? 0 : dtype == DType::kF16 ? 1 : 30;
  return {.name = name,
          .dims = {shape.rbegin(), shape.rend()},
          .type = type,
          .bytes = testing::MakeTensor(name, dtype, shape).bytes};
}

// d_model 8, one layer of 4 heads of 4 in 2 groups.
GgufTestFile Mamba2() {
  GgufTestFile file;
  file.Set("general.architecture", testing::GgufText("mamba2"));
  const auto set = [&](const char* key, uint32_t value) {
    file.Set(StrCat("mamba2.", key), GgufUint32(value));
  };
  set("embedding_length", 8), set("block_count", 1);
  set("ssm.conv_kernel", 3), set("ssm.inner_size", 16), set("ssm.state_size", 6);
  set("ssm.time_step_rank", 4), set("ssm.group_count", 2);
  file.Set("mamba2.attention.layer_norm_rms_epsilon", testing::GgufFloat32(1e-5f));
  file.tensors = {Tensor("token_embd.weight", DType::kBF16, {10, 8}),
                  Tensor("output_norm.weight", DType::kF32, {8}),
                  Tensor("output.weight", DType::kF16, {10, 8}),
                  Tensor("blk.0.attn_norm.weight", DType::kF32, {8}),
                  Tensor("blk.0.ssm_in.weight", DType::kF16, {60, 8}),
                  Tensor("blk.0.ssm_conv1d.weight", DType::kF32, {40, 3}),
                  Tensor("blk.0.ssm_conv1d.bias", DType::kF32, {40}),
                  Tensor("blk.0.ssm_dt.bias", DType::kF32, {4}),
                  Tensor("blk.0.ssm_a", DType::kF32, {4, 1}),
                  Tensor("blk.0.ssm_d", DType::kF32, {4, 1}),
                  Tensor("blk.0.ssm_norm.weight", DType::kF32, {2, 8}),
                  Tensor("blk.0.ssm_out.weight", DType::kBF16, {8, 16})};
  return file;
}

// Asks for all that a model of the file has.
void Load(const GgufTestFile& file) {
  const testing::TempDir dir;
  dir.Write("m.gguf", file.Bytes());
  testing::RecordedModel(dir.path() / "m.gguf");
}

TEST(LoadGguf, EveryTensorArrives) {
  const testing::TempDir dir;
  dir.Write("m.gguf", Mamba2().Bytes());
  testing::RecordedModel w(dir.path() / "m.gguf");
  w.ExpectMatrix("backbone.embedding.weight", DType::kBF16, 10, 8, "token_embd.weight");
  w.ExpectMatrix("lm_head.weight", DType::kF16, 10, 8, "output.weight");
  const std::string mixer(kMixer);
  w.ExpectMatrix(mixer + "in_proj.weight", DType::kF16, 60, 8, "blk.0.ssm_in.weight");
  w.ExpectMatrix(mixer + "out_proj.weight", DType::kBF16, 8, 16, "blk.0.ssm_out.weight");
  Checkpoint checkpoint(dir.path() / "m.gguf");
  const auto expect = [&](const std::string& name, const std::vector<int64_t>& shape,
                          const std::string& in_file) {
    SCOPED_TRACE(name);
    const std::vector<float> values =
        name.ends_with("A_log") ? checkpoint.Decay(name, shape) : checkpoint.Vector(name, shape);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], TestValue(in_file, static_cast<int64_t>(i))) << i;
    }
  };
  expect("backbone.norm_f.weight", {8}, "output_norm.weight");
  expect("backbone.layers.0.norm.weight", {8}, "blk.0.attn_norm.weight");
  expect(mixer + "conv1d.weight", {40, 1, 3}, "blk.0.ssm_conv1d.weight");
  expect(mixer + "conv1d.bias", {40}, "blk.0.ssm_conv1d.bias");
  expect(mixer + "dt_bias", {4}, "blk.0.ssm_dt.bias");
  expect(mixer + "A_log", {4}, "blk.0.ssm_a");  // A itself, not its logarithm
  expect(mixer + "D", {4}, "blk.0.ssm_d");
  expect(mixer + "norm.weight", {16}, "blk.0.ssm_norm.weight");
}

TEST(LoadGguf, OuterSizesOfOneMayBeThereOrNot) {
  GgufTestFile file = Mamba2();
  file.Find("output_norm.weight").dims = {8, 1, 1};
  file.Find("blk.0.ssm_conv1d.weight").dims = {3, 40, 1};
  Load(file);
  file.Find("blk.0.ssm_a").dims = {4};  // one row of four, where four rows of one should be
  const std::string message = testing::ErrorOf([&] { Load(file); });
  EXPECT_NE(message.find("\"blk.0.ssm_a\": got shape [4], expected [4, 1] from the file's keys"),
            std::string::npos)
      << message;
}

TEST(LoadGguf, WhatIsMissingWrongOrLeftOverIsNamed) {
  const std::vector<GgufTestTensor> all = Mamba2().tensors;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].name == "output.weight") continue;  // then the head is the embedding
    SCOPED_TRACE(all[i].name);
    GgufTestFile file = Mamba2();
    file.tensors.erase(file.tensors.begin() + static_cast<std::ptrdiff_t>(i));
    std::string message = testing::ErrorOf([&] { Load(file); });
    EXPECT_NE(message.find(StrCat('"', all[i].name, "\" is missing")), std::string::npos)
        << message;
    if (all[i].name == "token_embd.weight") continue;  // its rows are the vocabulary
    file = Mamba2();
    file.tensors[i].dims[0] += 1;
    file.tensors[i].bytes += std::string(4000, '\0');
    for (uint64_t count = 1; const uint64_t size : file.tensors[i].dims) {
      count *= size;
      file.tensors[i].bytes.resize(count * (file.tensors[i].type == 0 ? 4 : 2));
    }
    message = testing::ErrorOf([&] { Load(file); });
    EXPECT_NE(message.find(StrCat('"', all[i].name, "\": got shape")), std::string::npos)
        << message;
  }
  GgufTestFile file = Mamba2();
  file.tensors.push_back(Tensor("blk.0.ssm_in.scale", DType::kF32, {1}));
  const std::string message = testing::ErrorOf([&] { Load(file); });
  EXPECT_NE(message.find("\"blk.0.ssm_in.scale\": a model of this architecture has no such"),
            std::string::npos)
      << message;
}

TEST(LoadGguf, InfiniteScalesOfBlocksAreCounted) {
  GgufTestFile file = Mamba2();
  file.Set("mamba2.embedding_length", GgufUint32(32));
  for (GgufTestTensor& tensor : file.tensors) {
    if (tensor.name == "blk.0.attn_norm.weight" || tensor.name == "output_norm.weight") {
      tensor = Tensor(tensor.name, DType::kF32, {32});
    }
  }
  file.Find("output.weight") = Tensor("output.weight", DType::kF32, {10, 32});
  file.Find("blk.0.ssm_out.weight") = Tensor("blk.0.ssm_out.weight", DType::kF32, {32, 16});
  file.Find("blk.0.ssm_in.weight") = Tensor("blk.0.ssm_in.weight", DType::kF32, {60, 32});
  GgufTestTensor& embedding = file.Find("token_embd.weight");
  embedding = {
      .name = "token_embd.weight", .dims = {32, 10}, .type = 8, .bytes = std::string(340, '\1')};
  embedding.bytes[34 * 3 + 1] = '\x7c';  // the scale of row 3 becomes a NaN
  const testing::TempDir dir;
  dir.Write("m.gguf", file.Bytes());
  const testing::RecordedModel model(dir.path() / "m.gguf");
  ASSERT_EQ(model.checkpoint.warnings().size(), 1u);
  EXPECT_NE(model.checkpoint.warnings()[0].find("\"token_embd.weight\": 32 of 320 weights"),
            std::string::npos)
      << model.checkpoint.warnings()[0];
}

}  // namespace
}  // namespace pith
