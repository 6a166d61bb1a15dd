// Whole checkpoints: every family in every container gives the values that were written, each in
// its place; whatever does not fit the config is refused by name.
#include "model/model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <set>

#include "pith/error.h"
#include "tests/load/checkpoint_builder.h"
#include "tests/model/recorded_model.h"

namespace pith {
namespace {

using testing::SafetensorsBytes;
using testing::TempDir;
using testing::TestModel;
using testing::TestValue;
using testing::TorchBinBytes;

using testing::RecordedModel;

std::unique_ptr<RecordedModel> Load(const TestModel& model, const LoadOptions& options = {}) {
  const TempDir dir;
  dir.Write("config.json", model.config);
  dir.Write("model.safetensors", SafetensorsBytes(model.tensors));
  return std::make_unique<RecordedModel>(dir.path(), options);  // the mapping outlives the files
}

LoadedModel LoadModel(const std::filesystem::path& directory) {
  return pith::LoadModel(directory, ExecOn(Device::kReference));
}

void ExpectRefused(const TestModel& model, ErrorCode code, const std::string& part) {
  for (const bool torch : {false, true}) {
    const TempDir dir;
    dir.Write("config.json", model.config);
    dir.Write(torch ? "pytorch_model.bin" : "model.safetensors",
              torch ? TorchBinBytes(model.tensors) : SafetensorsBytes(model.tensors));
    try {
      LoadModel(dir.path());
      ADD_FAILURE() << "expected: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(dir.path().string()), std::string::npos);
    }
  }
}

void ExpectMamba1(RecordedModel& w, const std::string& embedding, DType embedding_dtype) {
  w.ExpectMatrix("backbone.embedding.weight", embedding_dtype, 16, 8, embedding);
  EXPECT_FALSE(w.matrices.contains("lm_head.weight"));  // tied
  w.ExpectVector("backbone.norm_f.weight", 8);
  ASSERT_EQ(w.model->n_layer(), 2);
  for (int i = 0; i < 2; ++i) {
    const std::string block = "backbone.layers." + std::to_string(i) + ".";
    const std::string mixer = block + "mixer.";
    w.ExpectVector(block + "norm.weight", 8);
    w.ExpectMatrix(mixer + "in_proj.weight", DType::kBF16, 32, 8);
    w.ExpectVector(mixer + "conv1d.weight", 64);
    w.ExpectVector(mixer + "conv1d.bias", 16);
    w.ExpectMatrix(mixer + "x_proj.weight", DType::kF16, 33, 16);
    w.ExpectMatrix(mixer + "dt_proj.weight", DType::kF32, 16, 1);
    w.ExpectVector(mixer + "dt_proj.bias", 16);
    w.ExpectVector(mixer + "D", 16);
    w.ExpectMatrix(mixer + "out_proj.weight", DType::kBF16, 8, 16);
    w.ExpectVector(mixer + "A_log", 256);
    // A = −exp(A_log), transposed to [d_state, d_inner].
    const VecView<const float> a = w.model->layer(i).a();
    ASSERT_EQ(a.size, 256);
    for (int64_t k = 0; k < 256; ++k) {
      EXPECT_FLOAT_EQ(a.data[k % 16 * 16 + k / 16], -std::exp(TestValue(mixer + "A_log", k)));
    }
    for (const char* absent :
         {"norm.bias", "mixer.in_proj.bias", "mixer.out_proj.bias", "mixer.norm.weight"}) {
      EXPECT_FALSE(w.vectors.contains(block + absent)) << absent;
    }
  }
  EXPECT_TRUE(w.checkpoint.warnings().empty());
}

TEST(ModelWeights, Mamba1InEveryContainer) {
  const TestModel model = testing::SsmMamba1();
  ExpectMamba1(*Load(model), "backbone.embedding.weight", DType::kBF16);
  const TempDir torch;
  torch.Write("config.json", model.config);
  torch.Write("pytorch_model.bin", TorchBinBytes(model.tensors));
  RecordedModel recorded(torch.path());
  ExpectMamba1(recorded, "backbone.embedding.weight", DType::kBF16);
  ExpectMamba1(*Load(testing::HfFalcon()), "backbone.embeddings.weight", DType::kF16);
}

TEST(ModelWeights, Mamba2OfBothFamilies) {
  const auto ssm = Load(testing::SsmMamba2());
  const std::string mixer = "backbone.layers.0.mixer.";
  ssm->ExpectMatrix(mixer + "in_proj.weight", DType::kBF16, 60, 8);
  ssm->ExpectVector(mixer + "dt_bias", 4);
  ssm->ExpectVector(mixer + "norm.weight", 16);
  ssm->ExpectVector(mixer + "conv1d.weight", 120);
  EXPECT_EQ(ssm->model->layer(0).a().size, 4);
  EXPECT_FALSE(ssm->matrices.contains(mixer + "x_proj.weight"));
  EXPECT_FALSE(ssm->matrices.contains(mixer + "dt_proj.weight"));
  const auto hf = Load(testing::HfMamba2());
  hf->ExpectMatrix("backbone.embedding.weight", DType::kF32, 10, 8, "backbone.embeddings.weight");
  hf->ExpectMatrix("lm_head.weight", DType::kF32, 10, 8);
  hf->ExpectVector(mixer + "in_proj.bias", 60);
  hf->ExpectVector(mixer + "out_proj.bias", 8);
}

TEST(ModelWeights, LayerNormModelsHaveBiases) {
  TestModel model = testing::SsmMamba2();
  model.config.replace(model.config.find(R"("rms_norm": true)"), 16, R"("rms_norm":false)");
  ExpectRefused(model, ErrorCode::kNotFound, "norm_f.bias\" is missing");
  for (const std::string name : {"backbone.layers.0.norm.bias", "backbone.norm_f.bias"}) {
    model.tensors.push_back(testing::MakeTensor(name, DType::kF32, {8}));
  }
  const auto w = Load(model);
  w->ExpectVector("backbone.layers.0.norm.bias", 8);
  w->ExpectVector("backbone.norm_f.bias", 8);
}

// Matrices must be views into the mapping.
TEST(ModelWeights, CopiesNoMatrix) {
  EXPECT_EQ(Load(testing::SsmMamba2())->checkpoint.copied_bytes(), 0);
}

TEST(ModelWeights, MisalignedMatricesAreCopied) {
  TestModel model = testing::SsmMamba2();
  std::string file = SafetensorsBytes(model.tensors);
  // One more blank in the header shifts all data to odd addresses.
  std::string header =
      file.substr(8, static_cast<uint8_t>(file[0]) + 256 * static_cast<uint8_t>(file[1]));
  const std::string data = file.substr(8 + header.size());
  const TempDir dir;
  dir.Write("config.json", model.config);
  dir.Write("model.safetensors", testing::SafetensorsFile(header + " ", data));
  RecordedModel w(dir.path());
  w.ExpectMatrix("backbone.embedding.weight", DType::kBF16, 16, 8);
  w.ExpectMatrix("backbone.layers.0.mixer.out_proj.weight", DType::kBF16, 8, 16);
  EXPECT_EQ(w.checkpoint.copied_bytes(), 2 * (16 * 8 + 60 * 8 + 8 * 16));
}

TEST(ModelWeights, Shards) {
  const TestModel model = testing::HfMamba2();
  const auto& all = model.tensors;
  const std::vector<testing::TestTensor> first(all.begin(), all.begin() + 5);
  const std::vector<testing::TestTensor> second(all.begin() + 5, all.end());
  const auto index = [&](const std::string& moved_to) {
    std::string map;
    for (size_t i = 0; i < all.size(); ++i) {
      const std::string file = i < 5 ? "m-1-of-2.safetensors" : moved_to;
      map += (i ? ",\"" : "\"") + all[i].name + "\":\"" + file + "\"";
    }
    return R"({"metadata":{"total_size":1},"weight_map":{)" + map + "}}";
  };
  const TempDir dir;
  dir.Write("config.json", model.config);
  dir.Write("m-1-of-2.safetensors", SafetensorsBytes(first));
  dir.Write("m-2-of-2.safetensors", SafetensorsBytes(second));
  dir.Write("model.safetensors.index.json", index("m-2-of-2.safetensors"));
  RecordedModel(dir.path()).ExpectMatrix("lm_head.weight", DType::kF32, 10, 8);

  const auto refused = [&](const std::string& text, const std::string& part) {
    dir.Write("model.safetensors.index.json", text);
    const std::string message = testing::ErrorOf([&] { LoadModel(dir.path()); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  refused(index("m-3-of-2.safetensors"), "m-3-of-2.safetensors");
  refused(index("m-1-of-2.safetensors"), "not in m-1-of-2.safetensors");
  refused(index("../m-2-of-2.safetensors"), "expected the name of a");
  refused(index("/etc/passwd"), "expected the name of a");
  refused(R"({"weight_map":{"a":3}})", "weight_map: \"a\"");
  refused(R"({"weight_map":[]})", "expected a JSON object");
  refused("{}", "weight_map: missing");
  // A tensor of a shard that the index does not place there.
  std::string partial = index("m-2-of-2.safetensors");
  partial.replace(partial.find("lm_head.weight"), 14, "lm_head.weighs");
  refused(partial, "does not place it here");
}

TEST(ModelWeights, TensorsThatDoNotFitAreNamed) {
  const std::string in_proj = "backbone.layers.0.mixer.in_proj.weight";
  TestModel missing = testing::SsmMamba2();
  std::erase_if(missing.tensors, [&](const auto& t) { return t.name == in_proj; });
  ExpectRefused(missing, ErrorCode::kNotFound,
                "tensor \"" + in_proj + "\" is missing; expected one of shape [60, 8]");

  TestModel shape = testing::SsmMamba2();
  shape.Find(in_proj) = testing::MakeTensor(in_proj, DType::kBF16, {8, 60});
  ExpectRefused(shape, ErrorCode::kCorruptData, "got shape [8, 60], expected [60, 8]");

  TestModel extra = testing::SsmMamba2();
  extra.tensors.push_back(testing::MakeTensor("backbone.layers.1.norm.weight", DType::kF32, {8}));
  ExpectRefused(extra, ErrorCode::kCorruptData, "\"backbone.layers.1.norm.weight\"");

  TestModel bias = testing::SsmMamba2();
  bias.tensors.push_back(
      testing::MakeTensor("backbone.layers.0.mixer.in_proj.bias", DType::kF32, {60}));
  ExpectRefused(bias, ErrorCode::kCorruptData, "no such tensor");
}

TEST(ModelWeights, OtherDTypesAreNamed) {
  for (const std::string dtype : {"I64", "F64", "F8_E4M3"}) {
    TestModel model = testing::SsmMamba2();
    testing::TestTensor& tensor = model.Find("backbone.layers.0.mixer.D");
    tensor.dtype = dtype;
    tensor.bytes.assign(dtype == "F8_E4M3" ? 4 : 32, '\0');
    const std::string message = testing::ErrorOf([&] { Load(model); });
    EXPECT_NE(message.find("\"backbone.layers.0.mixer.D\": got dtype \"" + dtype +
                           "\", expected F32, F16 or BF16"),
              std::string::npos)
        << message;
  }
}

TEST(ModelWeights, ATiedHeadMustEqualTheEmbedding) {
  TestModel model = testing::SsmMamba2();
  testing::TestTensor head = model.tensors[0];
  head.name = "lm_head.weight";
  model.tensors.push_back(head);
  EXPECT_FALSE(Load(model)->matrices.contains("lm_head.weight"));
  model.tensors.back().bytes[0] ^= 1;
  ExpectRefused(model, ErrorCode::kCorruptData, "set tie_embeddings to false");
}

TEST(ModelWeights, NonFiniteWeightsAreWarnedOf) {
  TestModel model = testing::SsmMamba2();
  std::string& bf16 = model.tensors[0].bytes;
  bf16.replace(0, 4, std::string("\xc0\x7f\x80\xff", 4));  // NaN, -infinity
  std::string& f32 = model.Find("backbone.norm_f.weight").bytes;
  f32.replace(4, 4, std::string("\x01\x00\x80\x7f", 4));  // a signalling NaN
  const std::vector<std::string> warnings = Load(model)->checkpoint.warnings();
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_NE(warnings[0].find("\"backbone.embedding.weight\": 2 of 128 weights are NaN or infinite"),
            std::string::npos)
      << warnings[0];
  EXPECT_NE(warnings[1].find("\"backbone.norm_f.weight\": 1 of 8"), std::string::npos);
  EXPECT_TRUE(Load(model, {.verify_finite = false})->checkpoint.warnings().empty());

  TestModel half = testing::HfFalcon();
  half.tensors[0].bytes.replace(2, 2, std::string("\x00\x7c", 2));
  ASSERT_EQ(Load(half)->checkpoint.warnings().size(), 1u);
}

TEST(ModelWeights, DirectoriesAndFilesThatCannotBeRead) {
  const TempDir dir;
  const auto refused = [&](const std::filesystem::path& path, const std::string& part) {
    const std::string message = testing::ErrorOf([&] { LoadModel(path); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  refused(dir.path() / "none", "expected a directory");
  refused(dir.path(), "config.json");
  dir.Write("config.json", testing::SsmMamba2().config);
  refused(dir.path() / "config.json", "expected a directory");
  refused(dir.path(), "no weights here");
  dir.Write("model.safetensors", "");
  refused(dir.path(), "0 bytes");
  std::filesystem::remove(dir.path() / "model.safetensors");
  std::filesystem::create_directory(dir.path() / "model.safetensors");
  refused(dir.path(), "not a regular file");
  std::filesystem::remove(dir.path() / "model.safetensors");
  dir.Write("model.safetensors", SafetensorsBytes(testing::SsmMamba2().tensors));
  std::filesystem::permissions(dir.path() / "model.safetensors", std::filesystem::perms::none);
  if (::geteuid() != 0) refused(dir.path(), "cannot open");  // root may read anything
}

// What passes the header's checks must be safe to use: every damaged header either fails or gives
// weights whose every byte can be read.
TEST(ModelWeights, DamagedHeadersLoadOrThrow) {
  const TestModel model = testing::SsmMamba2();
  const std::string file = SafetensorsBytes(model.tensors);
  const size_t header = 8 + static_cast<uint8_t>(file[0]) + 256 * static_cast<uint8_t>(file[1]);
  const TempDir dir;
  dir.Write("config.json", model.config);
  int loaded = 0;
  for (size_t at = 0; at < header; ++at) {
    for (const uint8_t mask : {0x01, 0x80, 0xff}) {
      std::string damaged = file;
      damaged[at] = static_cast<char>(damaged[at] ^ mask);
      dir.Write("model.safetensors", damaged);
      try {
        loaded += LoadModel(dir.path()).model.n_layer() == 1;
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
      }
    }
  }
  EXPECT_GT(loaded, 0);
}

}  // namespace
}  // namespace pith
