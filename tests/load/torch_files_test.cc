// Files that torch itself wrote, in the ways people save models after training
// (tools/golden/torch_files.py): the values must be those that went in, whatever the container.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "load/model_weights.h"
#include "load/torch_bin.h"
#include "pith/error.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

using testing::TempDir;
using testing::TestModel;
using testing::TestValue;

const std::filesystem::path kFiles =
    std::filesystem::path(PITH_SOURCE_DIR) / "tests/load/data/torch";
const std::string kMixer = "backbone.layers.0.mixer.";

ModelWeights LoadFile(const std::string& file, const std::string& config) {
  const TempDir dir;
  dir.Write("config.json", config);
  std::filesystem::copy(kFiles / file, dir.path() / "pytorch_model.bin");
  return LoadModel(dir.path());
}

void ExpectMatrix(const WeightView& view, const std::string& name, int64_t rows, int64_t cols) {
  ASSERT_EQ(view.dtype, DType::kF32) << name;
  ASSERT_EQ(view.rows, rows) << name;
  ASSERT_EQ(view.cols, cols) << name;
  for (int64_t i = 0; i < rows * cols; ++i) {
    ASSERT_EQ(static_cast<const float*>(view.data)[i], TestValue(name, i)) << name << " " << i;
  }
}

void ExpectVector(const std::vector<float>& values, const std::string& name, int64_t size) {
  ASSERT_EQ(std::ssize(values), size) << name;
  for (int64_t i = 0; i < size; ++i) ASSERT_EQ(values[i], TestValue(name, i)) << name << " " << i;
}

// All tensors of HfMamba2 but dt_bias and the head.
void ExpectModel(const ModelWeights& w) {
  ExpectMatrix(w.embedding, "backbone.embeddings.weight", 10, 8);
  ExpectVector(w.norm_f_weight, "backbone.norm_f.weight", 8);
  ASSERT_EQ(w.layers.size(), 1u);
  const LayerWeights& layer = w.layers[0];
  ExpectVector(layer.norm_weight, "backbone.layers.0.norm.weight", 8);
  ExpectMatrix(layer.in_proj, kMixer + "in_proj.weight", 60, 8);
  ExpectVector(layer.in_proj_bias, kMixer + "in_proj.bias", 60);
  ExpectVector(layer.conv_weight, kMixer + "conv1d.weight", 160);
  ExpectVector(layer.conv_bias, kMixer + "conv1d.bias", 40);
  ExpectVector(layer.d, kMixer + "D", 4);
  ExpectVector(layer.gated_norm_weight, kMixer + "norm.weight", 16);
  ExpectMatrix(layer.out_proj, kMixer + "out_proj.weight", 8, 16);
  ExpectVector(layer.out_proj_bias, kMixer + "out_proj.bias", 8);
  EXPECT_TRUE(w.warnings.empty());
}

TEST(TorchFiles, EveryWayToSaveAModel) {
  for (const std::string file :
       {"parameters.bin", "parameters-protocol4.bin", "buffers.bin", "training.bin",
        "training-protocol5.bin", "legacy-protocol4.bin"}) {
    SCOPED_TRACE(file);
    const ModelWeights w = LoadFile(file, testing::HfMamba2().config);
    ExpectModel(w);
    ExpectVector(w.layers[0].dt_bias, kMixer + "dt_bias", 4);
    ExpectMatrix(w.lm_head, "lm_head.weight", 10, 8);
  }
}

TEST(TorchFiles, StridedTensorsAreCopied) {
  for (const std::string file : {"strided.bin", "legacy.bin"}) {
    SCOPED_TRACE(file);
    const ModelWeights w = LoadFile(file, testing::HfMamba2().config);
    ExpectModel(w);
    EXPECT_EQ(w.layers[0].dt_bias, std::vector<float>(4, 0.5f));
    ExpectMatrix(w.lm_head, "lm_head.weight", 10, 8);
  }
  // Of the matrices only the strided ones are owned: in_proj, out_proj and the head, beside the
  // strided vectors (conv1d, the gated norm, dt_bias) and the f32 copies of all vectors.
  const int64_t vectors = 8 + 60 + 160 + 40 + 4 + 4 + 4 + 16 + 8 + 8;
  const int64_t copies = 60 * 8 + 8 * 16 + 10 * 8 + 160 + 16 + 4;
  EXPECT_EQ(LoadFile("strided.bin", testing::HfMamba2().config).resident_bytes_owned,
            4 * (vectors + copies));
}

TEST(TorchFiles, AModelWithoutItsHead) {
  std::string config = testing::HfMamba2().config;
  const std::string untied = R"("tie_word_embeddings": false)";
  // A head of its own cannot be made up.
  const std::string message = testing::ErrorOf([&] { LoadFile("headless-protocol3.bin", config); });
  EXPECT_NE(message.find("tensor \"lm_head.weight\" is missing"), std::string::npos) << message;
  config.replace(config.find(untied), untied.size(), R"("tie_word_embeddings": true)");
  const ModelWeights w = LoadFile("headless-protocol3.bin", config);
  ExpectModel(w);
  EXPECT_EQ(w.lm_head.data, w.embedding.data);
}

// A legacy file has no checksum or directory either: what loads must lie inside of it.
TEST(TorchFiles, DamagedLegacyFilesLoadOrThrow) {
  std::ifstream in(kFiles / "legacy.bin", std::ios::binary);
  const std::string file{std::istreambuf_iterator<char>(in), {}};
  ASSERT_GT(file.size(), 1000u);
  int loaded = 0;
  int thrown = 0;
  for (size_t at = 0; at < file.size(); at += at < 3000 ? 1 : 97) {
    std::string damaged = file;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x11);
    for (const std::string& text : {damaged, file.substr(0, at)}) {
      const std::vector<std::byte> bytes = testing::ToBytes(text);
      try {
        for (const auto& [name, tensor] : ReadTorchBin(bytes, "f")) {
          if (tensor.bytes.empty()) continue;
          EXPECT_GE(tensor.bytes.data(), bytes.data());
          EXPECT_LE(tensor.bytes.data() + tensor.bytes.size(), bytes.data() + bytes.size());
        }
        ++loaded;
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
        ++thrown;
      }
    }
  }
  EXPECT_GT(loaded, 0);
  EXPECT_GT(thrown, loaded);
}

}  // namespace
}  // namespace pith
