// Engine::Load: what it tells of a model, and that every mistake in files and options is an error
// that names it.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "ops/backends.h"
#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::LoadTiny;
using testing::TinyModel;
using testing::TinyOptions;
using testing::WriteModel;
using Ids = std::vector<int32_t>;

void ExpectError(ErrorCode code, const std::vector<std::string>& parts,
                 const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no error: " << parts[0];
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "'" << part << "' missing: " << error.what();
    }
  }
}

EngineOptions With(const std::function<void(EngineOptions&)>& change) {
  EngineOptions options = TinyOptions();
  change(options);
  return options;
}

void SetFloat(testing::TestTensor& tensor, int64_t index, float value) {
  std::memcpy(tensor.bytes.data() + index * sizeof(float), &value, sizeof(float));
}

TEST(Load, TellsAboutTheModel) {
  for (const bool mamba2 : {false, true}) {
    const Engine engine = LoadTiny({.mamba2 = mamba2});
    const ModelInfo& info = engine.info();
    EXPECT_EQ(info.kind, mamba2 ? "mamba2" : "mamba1");
    EXPECT_EQ(info.format, "mamba_ssm");
    EXPECT_EQ(info.n_layer, 8);
    EXPECT_EQ(info.d_model, 32);
    EXPECT_EQ(info.vocab_size, 264);
    int64_t elements = 0;
    for (const auto& tensor : TinyModel({.mamba2 = mamba2}).tensors) {
      elements += std::ssize(tensor.bytes) / 4;
    }
    EXPECT_EQ(info.parameters, elements);
    // Per layer: three past inputs of the convolution, and d_state values a channel.
    EXPECT_EQ(info.state_bytes, 8 * (3 * (mamba2 ? 64 + 2 * 16 : 64) + 16 * 64) * 4);
    EXPECT_EQ(info.end_of_text, testing::kEndOfText);
    EXPECT_EQ(info.end_of_text_source, "tokenizer.json");
    EXPECT_TRUE(info.warnings.empty());
  }
}

TEST(Load, ConfigsEndOfTextComesFirst) {
  const Engine engine = LoadTiny({.more_config = R"(, "eos_token_id": 7)"});
  EXPECT_EQ(engine.info().end_of_text, 7);
  EXPECT_EQ(engine.info().end_of_text_source, "config.json");
  EXPECT_EQ(engine.Tokenize("x", true), (Ids{7, 'x'}));
}

TEST(Load, TextNeedsATokenizer) {
  const testing::TempDir dir;
  WriteModel(dir, TinyModel());
  std::filesystem::rename(dir.path() / "tokenizer.json", dir.path() / "elsewhere.json");
  const Engine engine = Engine::Load(dir.path(), TinyOptions());
  EXPECT_EQ(engine.info().end_of_text, std::nullopt);
  ExpectError(ErrorCode::kNotFound, {"tokenizer.json"}, [&] { engine.Tokenize("x"); });
  ExpectError(ErrorCode::kNotFound, {"tokenizer.json"}, [&] { engine.Generate(Ids{1}, {}); });
  EXPECT_GT(engine.Perplexity(Ids{1, 2, 3}).nll, 0);  // ids do not
  const Engine given = Engine::Load(dir.path(), TinyOptions(), dir.path() / "elsewhere.json");
  EXPECT_EQ(given.Tokenize("ab"), Ids{256});
  ExpectError(ErrorCode::kNotFound, {"absent.json"},
              [&] { Engine::Load(dir.path(), TinyOptions(), dir.path() / "absent.json"); });
}

TEST(Load, BosNeedsAnEndOfTextToken) {
  const Engine engine = LoadTiny({}, TinyOptions(), SmallTokenizer());
  EXPECT_EQ(engine.Tokenize("x"), Ids{'x'});
  ExpectError(ErrorCode::kNotFound, {"bos"}, [&] { engine.Tokenize("x", true); });
}

TEST(Load, TokenizerMustFitTheModel) {
  Json larger = testing::TinyTokenizer();
  larger["added_tokens"].push_back(Added(264, "<one too many>", {}));
  ExpectError(ErrorCode::kCorruptData, {"tokenizer.json", "264", "263"},
              [&] { LoadTiny({}, TinyOptions(), larger); });
  Json full = testing::TinyTokenizer();
  full["added_tokens"].push_back(Added(263, "<the last>", {}));
  EXPECT_TRUE(LoadTiny({}, TinyOptions(), full).info().warnings.empty());
  // 259 ids; 1,024 rows more are taken for padding, not 1,029.
  EXPECT_TRUE(LoadTiny({.vocab_size = 1280}).info().warnings.empty());
  const auto warnings = LoadTiny({.vocab_size = 1288}).info().warnings;
  ASSERT_EQ(warnings.size(), 1);
  EXPECT_NE(warnings[0].find("1288"), std::string::npos);
}

TEST(Load, RefusesOptionsOutOfRange) {
  const testing::TempDir dir;
  WriteModel(dir, TinyModel());
  const auto refused = [&](ErrorCode code, const std::vector<std::string>& parts, auto change) {
    ExpectError(code, parts, [&] { Engine::Load(dir.path(), With(change)); });
  };
  constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;
  refused(kInvalid, {"device", "'gpu'", "cpu, reference, cuda"}, [](auto& o) { o.device = "gpu"; });
  refused(kInvalid, {"dtype", "'int8'", "f32, bf16"}, [](auto& o) { o.dtype = "int8"; });
  refused(kInvalid, {"state-dtype", "'f8'", "f32, bf16, f16"},
          [](auto& o) { o.state_dtype = "f8"; });
  // Never in f32, and not on the CPU at all.
  refused(ErrorCode::kUnsupported, {"state-dtype", "got f16, expected f32"},
          [](auto& o) { o.state_dtype = "f16", o.ssd_chunk = 64; });
  // A GPU's whole mixers, which alone take them, have one chunk; elsewhere the state is refused.
  const bool cuda = TinyOptions().device.starts_with("cuda");
  refused(ErrorCode::kUnsupported,
          {"state-dtype", "f16", cuda ? "ssd-chunk: got 32, expected 64" : "expected f32"},
          [](auto& o) { o.state_dtype = "f16", o.ssd_chunk = 32; });
  refused(kInvalid, {"threads", "-1"}, [](auto& o) { o.threads = -1; });
  refused(kInvalid, {"threads", "1025"}, [](auto& o) { o.threads = 1025; });
  refused(kInvalid, {"rows-per-chunk", "-1"}, [](auto& o) { o.rows_per_chunk = -1; });
  refused(kInvalid, {"ssd-chunk", "0"}, [](auto& o) { o.ssd_chunk = 0; });
  refused(kInvalid, {"ssd-chunk", "4097"}, [](auto& o) { o.ssd_chunk = 4097; });
  if (CpuBackend() == nullptr) {
    refused(ErrorCode::kUnsupported, {"device", "cpu"}, [](auto& o) { o.device = "cpu"; });
  }
}

// The machine's GPUs are numbered from 0; a number is asked for as cuda:N.
TEST(Load, RefusesGpusThatAreNotThere) {
  const testing::TempDir dir;
  WriteModel(dir, TinyModel());
  const auto refused = [&](ErrorCode code, const std::vector<std::string>& parts,
                           const std::string& device) {
    ExpectError(code, parts,
                [&] { Engine::Load(dir.path(), With([&](auto& o) { o.device = device; })); });
  };
  for (const char* device : {"cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:0000", "cuda: 1"}) {
    refused(ErrorCode::kInvalidArgument, {"device", device, "cuda:N"}, device);
  }
  for (const char* device : {"cuda0", "cpu:0", "CUDA"}) {
    refused(ErrorCode::kInvalidArgument, {"device", device, "cpu, reference, cuda"}, device);
  }
  const int gpus = CudaDevices();
  std::string what = "compiled without";
  if (gpus == 0) what = "no NVIDIA GPU";
  if (gpus > 0) what = StrCat("this machine has ", gpus, " GPU");
  refused(ErrorCode::kUnsupported, {"device", "cuda", what}, "cuda:999");
  if (gpus <= 0) refused(ErrorCode::kUnsupported, {"device", "cuda", what}, "cuda");
}

TEST(Load, NamesMissingFiles) {
  const testing::TempDir dir;
  ExpectError(ErrorCode::kNotFound, {"config.json"},
              [&] { Engine::Load(dir.path(), TinyOptions()); });
  dir.Write("config.json", TinyModel().config);
  ExpectError(ErrorCode::kNotFound, {dir.path().string()},
              [&] { Engine::Load(dir.path(), TinyOptions()); });
}

TEST(Load, RefusesAnEndOfTextBeyondTheVocabulary) {
  ExpectError(ErrorCode::kCorruptData, {"eos_token_id"},
              [] { LoadTiny({.more_config = R"(, "eos_token_id": 264)"}); });
}

TEST(Load, WarnsOfWeightsThatAreNoNumbers) {
  const testing::TempDir dir;
  testing::TestModel model = TinyModel();
  SetFloat(model.Find("backbone.layers.3.mixer.out_proj.weight"), 5, std::nanf(""));
  SetFloat(model.Find("backbone.norm_f.weight"), 0, std::numeric_limits<float>::infinity());
  WriteModel(dir, model);
  const auto warnings = Engine::Load(dir.path(), TinyOptions()).info().warnings;
  ASSERT_EQ(warnings.size(), 2);
  const std::string all = warnings[0] + warnings[1];
  EXPECT_NE(all.find("backbone.layers.3.mixer.out_proj.weight"), std::string::npos) << all;
  EXPECT_NE(all.find("backbone.norm_f.weight"), std::string::npos) << all;
  const auto unchecked = With([](auto& o) { o.verify_weights = false; });
  EXPECT_TRUE(Engine::Load(dir.path(), unchecked).info().warnings.empty());
}

TEST(Load, ListsTheMethods) {
  std::string names;
  for (const MethodInfo& method : ListReductions()) {
    names += method.name + " ";
    EXPECT_FALSE(method.description.empty()) << method.name;
    for (const auto& key : method.keys) EXPECT_FALSE(key.meaning.empty()) << key.name;
  }
  for (const char* name : {"none ", "utrc ", "random ", "truncate "}) {
    EXPECT_NE(names.find(name), std::string::npos) << names;
  }
}

}  // namespace
}  // namespace pith
