// Names as training leaves them, in both containers and all families, come to the names that a
// model has; what could be mistaken is refused.
#include "load/tensor_names.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/load/checkpoint_builder.h"
#include "tests/model/recorded_model.h"

namespace pith {
namespace {

using testing::MakeTensor;
using testing::TempDir;
using testing::TestModel;

std::vector<std::string> Normalized(const std::vector<std::string>& names,
                                    const std::string& format = "mamba2") {
  TensorTable table;
  for (const std::string& name : names) {
    table.emplace(name, StoredTensor{.file = "f.bin", .dtype_name = "F32", .dtype = DType::kF32});
  }
  ModelConfig config;
  config.format = format;
  NormalizeTensorNames(config, table);
  std::vector<std::string> result;
  for (const auto& [name, tensor] : table) result.push_back(name);
  return result;
}

TEST(TensorNames, MarksOfTraining) {
  const std::vector<std::string> plain = {"backbone.layers.0.norm.weight", "lm_head.weight"};
  for (const std::string prefix :
       {"", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.",
        "model.", "module.model.", "_fsdp_wrapped_module.", "_orig_mod.model."}) {
    EXPECT_EQ(Normalized({prefix + plain[0], prefix + plain[1]}), plain) << prefix;
  }
  // A layer that was compiled or wrapped by itself.
  EXPECT_EQ(Normalized({"backbone.layers.0._orig_mod.norm.weight", "lm_head.weight"}), plain);
  EXPECT_EQ(Normalized({"module.backbone.layers.0._fsdp_wrapped_module._checkpoint_wrapped_module."
                        "norm.weight",
                        "_orig_mod.lm_head._orig_mod.weight"}),
            plain);
  // Only whole parts of a name count, and only where they mean a wrapper.
  for (const std::string name :
       {"backbone.my_orig_mod.weight", "backbone.module.weight", "model.layers.0.weight"}) {
    EXPECT_EQ(Normalized({name}), std::vector<std::string>{name});
  }
}

TEST(TensorNames, WithoutBackbone) {
  EXPECT_EQ(
      Normalized({"embeddings.weight", "layers.0.mixer.D", "lm_head.weight", "norm_f.weight"}),
      (std::vector<std::string>{"backbone.embeddings.weight", "backbone.layers.0.mixer.D",
                                "backbone.norm_f.weight", "lm_head.weight"}));
  EXPECT_EQ(Normalized({"module.embedding.weight"}, "mamba_ssm"),
            std::vector<std::string>{"backbone.embedding.weight"});
  // transformers reads mamba_ssm's name of the embedding, mamba_ssm does not read transformers'.
  EXPECT_EQ(Normalized({"backbone.embedding.weight"}),
            std::vector<std::string>{"backbone.embeddings.weight"});
  EXPECT_EQ(Normalized({"backbone.embeddings.weight"}, "mamba_ssm"),
            std::vector<std::string>{"backbone.embeddings.weight"});
  // With a backbone in any name the others stay: they are not of the model.
  const std::vector<std::string> mixed = {"backbone.embeddings.weight", "layers.0.mixer.D"};
  EXPECT_EQ(Normalized(mixed), mixed);
}

TEST(TensorNames, TwoForOneNameAreRefused) {
  const std::string message = testing::ErrorOf([&] {
    Normalized({"lm_head.weight", "module.lm_head.weight"});
  });
  EXPECT_NE(message.find("f.bin: \"module.lm_head.weight\": a second tensor \"lm_head.weight\""),
            std::string::npos)
      << message;
  EXPECT_NE(testing::ErrorOf([&] {
              Normalized({"backbone.embedding.weight", "backbone.embeddings.weight"});
            }).find("a second tensor"),
            std::string::npos);
}

// Renames all tensors, writes both containers and expects the values of the plain model.
void ExpectLoads(const TestModel& model, const std::function<std::string(std::string)>& rename) {
  TestModel renamed = model;
  for (testing::TestTensor& tensor : renamed.tensors) tensor.name = rename(tensor.name);
  for (const bool torch : {false, true}) {
    const TempDir dir;
    dir.Write("config.json", model.config);
    dir.Write(torch ? "pytorch_model.bin" : "model.safetensors",
              torch ? testing::TorchBinBytes(renamed.tensors)
                    : testing::SafetensorsBytes(renamed.tensors));
    testing::RecordedModel w(dir.path());
    const std::string name = "backbone.norm_f.weight";
    for (int64_t i = 0; i < 8; ++i)
      EXPECT_EQ(w.vectors["backbone.norm_f.weight"][i], testing::TestValue(name, i));
    EXPECT_TRUE(w.matrices.contains("backbone.embedding.weight"));
  }
}

TEST(TensorNames, EveryFamilyLoadsAsTrainingLeavesIt) {
  for (const TestModel& model :
       {testing::SsmMamba1(), testing::SsmMamba2(), testing::HfMamba2(), testing::HfFalcon()}) {
    ExpectLoads(model, [](const std::string& name) { return name; });
    ExpectLoads(model, [](const std::string& name) { return "module." + name; });
    ExpectLoads(model, [](const std::string& name) { return "_orig_mod." + name; });
    ExpectLoads(model, [](const std::string& name) {
      return name.starts_with("backbone.") ? name.substr(9) : name;
    });
  }
}

TEST(TensorNames, BuffersThatNoModelNeedsAreIgnored) {
  TestModel model = testing::SsmMamba2();
  const auto add = [&](const std::string& name, const std::string& dtype, size_t bytes) {
    model.tensors.push_back(
        {.name = name, .dtype = dtype, .shape = {2}, .bytes = std::string(bytes, '\x7f')});
  };
  add("backbone.layers.0.steps", "I64", 16);
  add("backbone.running_mean", "F64", 16);
  add("mask", "BOOL", 2);
  ExpectLoads(model, [](const std::string& name) { return name; });
  // Under a weight's name, or in a weight's type, a tensor is no buffer.
  for (const auto& [name, dtype, bytes] : std::vector<std::tuple<std::string, std::string, size_t>>{
           {"backbone.layers.7.mixer.A_log", "F64", 16},
           {"backbone.layers.0.mixer.in_proj.bias", "I64", 16},
           {"backbone.running_mean", "F32", 8}}) {
    TestModel extra = testing::SsmMamba2();
    extra.tensors.push_back(
        {.name = name, .dtype = dtype, .shape = {2}, .bytes = std::string(bytes, '\0')});
    const TempDir dir;
    dir.Write("config.json", extra.config);
    dir.Write("model.safetensors", testing::SafetensorsBytes(extra.tensors));
    const std::string message =
        testing::ErrorOf([&] { LoadModel(dir.path(), ExecOn(Device::kReference)); });
    EXPECT_NE(message.find("\"" + name + "\": a model of this config.json has no such tensor"),
              std::string::npos)
        << message;
  }
}

}  // namespace
}  // namespace pith
