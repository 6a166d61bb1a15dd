// Files that torch itself wrote, in the ways people save models after training
// (tools/golden/torch_files.py): the values must be those that went in, whatever the container.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "load/torch_bin.h"
#include "pith/error.h"
#include "tests/model/recorded_model.h"

namespace pith {
namespace {

using testing::RecordedModel;
using testing::TempDir;
using testing::TestModel;
using testing::TestValue;

const std::filesystem::path kFiles =
    std::filesystem::path(PITH_SOURCE_DIR) / "tests/load/data/torch";
const std::string kMixer = "backbone.layers.0.mixer.";

std::unique_ptr<RecordedModel> LoadFile(const std::string& file, const std::string& config) {
  const TempDir dir;
  dir.Write("config.json", config);
  std::filesystem::copy(kFiles / file, dir.path() / "pytorch_model.bin");
  return std::make_unique<RecordedModel>(dir.path());
}

// All tensors of HfMamba2 but dt_bias and the head.
void ExpectModel(RecordedModel& w) {
  w.ExpectMatrix("backbone.embedding.weight", DType::kF32, 10, 8, "backbone.embeddings.weight");
  w.ExpectVector("backbone.norm_f.weight", 8);
  ASSERT_EQ(w.model->n_layer(), 1);
  w.ExpectVector("backbone.layers.0.norm.weight", 8);
  w.ExpectMatrix(kMixer + "in_proj.weight", DType::kF32, 60, 8);
  w.ExpectVector(kMixer + "in_proj.bias", 60);
  w.ExpectVector(kMixer + "conv1d.weight", 160);
  w.ExpectVector(kMixer + "conv1d.bias", 40);
  w.ExpectVector(kMixer + "D", 4);
  w.ExpectVector(kMixer + "norm.weight", 16);
  w.ExpectMatrix(kMixer + "out_proj.weight", DType::kF32, 8, 16);
  w.ExpectVector(kMixer + "out_proj.bias", 8);
  EXPECT_TRUE(w.checkpoint.warnings().empty());
}

TEST(TorchFiles, EveryWayToSaveAModel) {
  for (const std::string file :
       {"parameters.bin", "parameters-protocol4.bin", "buffers.bin", "training.bin",
        "training-protocol5.bin", "legacy-protocol4.bin"}) {
    SCOPED_TRACE(file);
    const auto w = LoadFile(file, testing::HfMamba2().config);
    ExpectModel(*w);
    w->ExpectVector(kMixer + "dt_bias", 4);
    w->ExpectMatrix("lm_head.weight", DType::kF32, 10, 8);
  }
}

TEST(TorchFiles, StridedTensorsAreCopied) {
  for (const std::string file : {"strided.bin", "legacy.bin"}) {
    SCOPED_TRACE(file);
    const auto w = LoadFile(file, testing::HfMamba2().config);
    ExpectModel(*w);
    EXPECT_EQ(w->vectors[kMixer + "dt_bias"], std::vector<float>(4, 0.5f));
    w->ExpectMatrix("lm_head.weight", DType::kF32, 10, 8);
  }
  // Only the strided ones are copied: in_proj, out_proj and the head, conv1d, the gated norm and
  // dt_bias.
  const int64_t copies = 60 * 8 + 8 * 16 + 10 * 8 + 160 + 16 + 4;
  EXPECT_EQ(LoadFile("strided.bin", testing::HfMamba2().config)->checkpoint.copied_bytes(),
            4 * copies);
}

TEST(TorchFiles, AModelWithoutItsHead) {
  std::string config = testing::HfMamba2().config;
  const std::string untied = R"("tie_word_embeddings": false)";
  // A head of its own cannot be made up.
  const std::string message = testing::ErrorOf([&] { LoadFile("headless-protocol3.bin", config); });
  EXPECT_NE(message.find("tensor \"lm_head.weight\" is missing"), std::string::npos) << message;
  config.replace(config.find(untied), untied.size(), R"("tie_word_embeddings": true)");
  const auto w = LoadFile("headless-protocol3.bin", config);
  ExpectModel(*w);
  EXPECT_FALSE(w->matrices.contains("lm_head.weight"));
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
