// Whole checkpoints: every family in every container gives the values that were written, each in
// its place; whatever does not fit the config is refused by name.
#include "load/model_weights.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <set>

#include "pith/error.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

using testing::SafetensorsBytes;
using testing::TempDir;
using testing::TestModel;
using testing::TestValue;
using testing::TorchBinBytes;

ModelWeights Load(const TestModel& model) {
  const TempDir dir;
  dir.Write("config.json", model.config);
  dir.Write("model.safetensors", SafetensorsBytes(model.tensors));
  return LoadModel(dir.path());  // the mapping outlives the files
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

void ExpectMatrix(const WeightView& view, const std::string& name, DType dtype, int64_t rows,
                  int64_t cols) {
  ASSERT_FALSE(view.empty()) << name;
  EXPECT_EQ(view.dtype, dtype) << name;
  ASSERT_EQ(view.rows, rows) << name;
  ASSERT_EQ(view.cols, cols) << name;
  VisitFloat(dtype, [&]<class T>() {
    const T* data = static_cast<const T*>(view.data);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % alignof(T), 0u) << name;
    for (int64_t i = 0; i < rows * cols; ++i) ASSERT_EQ(ToFloat(data[i]), TestValue(name, i));
  });
}

void ExpectVector(const std::vector<float>& values, const std::string& name, int64_t size) {
  ASSERT_EQ(std::ssize(values), size) << name;
  for (int64_t i = 0; i < size; ++i) ASSERT_EQ(values[i], TestValue(name, i)) << name;
}

void ExpectMamba1(const ModelWeights& w, const std::string& embedding, DType embedding_dtype) {
  ExpectMatrix(w.embedding, embedding, embedding_dtype, 16, 8);
  EXPECT_EQ(w.lm_head.data, w.embedding.data);
  ExpectVector(w.norm_f_weight, "backbone.norm_f.weight", 8);
  ASSERT_EQ(w.layers.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const LayerWeights& layer = w.layers[i];
    const std::string block = "backbone.layers." + std::to_string(i) + ".";
    const std::string mixer = block + "mixer.";
    ExpectVector(layer.norm_weight, block + "norm.weight", 8);
    ExpectMatrix(layer.in_proj, mixer + "in_proj.weight", DType::kBF16, 32, 8);
    ExpectVector(layer.conv_weight, mixer + "conv1d.weight", 64);
    ExpectVector(layer.conv_bias, mixer + "conv1d.bias", 16);
    ExpectMatrix(layer.x_proj, mixer + "x_proj.weight", DType::kF16, 33, 16);
    ExpectMatrix(layer.dt_proj, mixer + "dt_proj.weight", DType::kF32, 16, 1);
    ExpectVector(layer.dt_bias, mixer + "dt_proj.bias", 16);
    ExpectVector(layer.d, mixer + "D", 16);
    ExpectMatrix(layer.out_proj, mixer + "out_proj.weight", DType::kBF16, 8, 16);
    ASSERT_EQ(layer.a.size(), 256u);
    for (int64_t k = 0; k < 256; ++k) {
      EXPECT_FLOAT_EQ(layer.a[k], -std::exp(TestValue(mixer + "A_log", k)));
    }
    EXPECT_TRUE(layer.norm_bias.empty() && layer.in_proj_bias.empty() &&
                layer.out_proj_bias.empty() && layer.gated_norm_weight.empty());
  }
  EXPECT_TRUE(w.warnings.empty());
}

TEST(ModelWeights, Mamba1InEveryContainer) {
  const TestModel model = testing::SsmMamba1();
  ExpectMamba1(Load(model), "backbone.embedding.weight", DType::kBF16);
  const TempDir torch;
  torch.Write("config.json", model.config);
  torch.Write("pytorch_model.bin", TorchBinBytes(model.tensors));
  ExpectMamba1(LoadModel(torch.path()), "backbone.embedding.weight", DType::kBF16);
  ExpectMamba1(Load(testing::HfFalcon()), "backbone.embeddings.weight", DType::kF16);
}

TEST(ModelWeights, Mamba2OfBothFamilies) {
  const ModelWeights ssm = Load(testing::SsmMamba2());
  const std::string mixer = "backbone.layers.0.mixer.";
  ExpectMatrix(ssm.layers[0].in_proj, mixer + "in_proj.weight", DType::kBF16, 60, 8);
  ExpectVector(ssm.layers[0].dt_bias, mixer + "dt_bias", 4);
  ExpectVector(ssm.layers[0].gated_norm_weight, mixer + "norm.weight", 16);
  ExpectVector(ssm.layers[0].conv_weight, mixer + "conv1d.weight", 120);
  EXPECT_EQ(ssm.layers[0].a.size(), 4u);
  EXPECT_TRUE(ssm.layers[0].x_proj.empty() && ssm.layers[0].dt_proj.empty());
  const ModelWeights hf = Load(testing::HfMamba2());
  ExpectMatrix(hf.embedding, "backbone.embeddings.weight", DType::kF32, 10, 8);
  ExpectMatrix(hf.lm_head, "lm_head.weight", DType::kF32, 10, 8);
  ExpectVector(hf.layers[0].in_proj_bias, mixer + "in_proj.bias", 60);
  ExpectVector(hf.layers[0].out_proj_bias, mixer + "out_proj.bias", 8);
}

TEST(ModelWeights, LayerNormModelsHaveBiases) {
  TestModel model = testing::SsmMamba2();
  model.config.replace(model.config.find(R"("rms_norm": true)"), 16, R"("rms_norm":false)");
  ExpectRefused(model, ErrorCode::kNotFound, "norm_f.bias\" is missing");
  for (const std::string name : {"backbone.layers.0.norm.bias", "backbone.norm_f.bias"}) {
    model.tensors.push_back(testing::MakeTensor(name, DType::kF32, {8}));
  }
  const ModelWeights w = Load(model);
  ExpectVector(w.layers[0].norm_bias, "backbone.layers.0.norm.bias", 8);
  ExpectVector(w.norm_f_bias, "backbone.norm_f.bias", 8);
}

// Matrices must be views into the mapping: what is owned is only the f32 vectors.
TEST(ModelWeights, OwnsOnlyVectors) {
  const ModelWeights w = Load(testing::SsmMamba2());
  const int64_t vectors = 8 + 120 + 40 + 4 + 4 + 4 + 16 + 8;
  EXPECT_EQ(w.resident_bytes_owned, 4 * vectors);
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
  const ModelWeights w = LoadModel(dir.path());
  ExpectMatrix(w.embedding, "backbone.embedding.weight", DType::kBF16, 16, 8);
  ExpectMatrix(w.layers[0].out_proj, "backbone.layers.0.mixer.out_proj.weight", DType::kBF16, 8,
               16);
  EXPECT_EQ(w.resident_bytes_owned, 4 * 204 + 2 * (16 * 8 + 60 * 8 + 8 * 16));
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
  ExpectMatrix(LoadModel(dir.path()).lm_head, "lm_head.weight", DType::kF32, 10, 8);

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
  const ModelWeights w = Load(model);
  EXPECT_EQ(w.lm_head.data, w.embedding.data);
  model.tensors.back().bytes[0] ^= 1;
  ExpectRefused(model, ErrorCode::kCorruptData, "set tie_embeddings to false");
}

TEST(ModelWeights, NonFiniteWeightsAreWarnedOf) {
  TestModel model = testing::SsmMamba2();
  std::string& bf16 = model.tensors[0].bytes;
  bf16.replace(0, 4, std::string("\xc0\x7f\x80\xff", 4));  // NaN, -infinity
  std::string& f32 = model.Find("backbone.norm_f.weight").bytes;
  f32.replace(4, 4, std::string("\x01\x00\x80\x7f", 4));  // a signalling NaN
  const std::vector<std::string> warnings = Load(model).warnings;
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_NE(warnings[0].find("\"backbone.embedding.weight\": 2 of 128 weights are NaN or infinite"),
            std::string::npos)
      << warnings[0];
  EXPECT_NE(warnings[1].find("\"backbone.norm_f.weight\": 1 of 8"), std::string::npos);
  const TempDir dir;
  dir.Write("config.json", model.config);
  dir.Write("model.safetensors", SafetensorsBytes(model.tensors));
  EXPECT_TRUE(LoadModel(dir.path(), {.verify_finite = false}).warnings.empty());

  TestModel half = testing::HfFalcon();
  half.tensors[0].bytes.replace(2, 2, std::string("\x00\x7c", 2));
  ASSERT_EQ(Load(half).warnings.size(), 1u);
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
        loaded += LoadModel(dir.path(), {.threads = 1}).layers.size() == 1;
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
      }
    }
  }
  EXPECT_GT(loaded, 0);
}

}  // namespace
}  // namespace pith
