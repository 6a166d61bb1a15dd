// Engine::Load: weights, tokenizer, and what is known about both.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "core/gguf.h"
#include "core/processors.h"
#include "engine/impl.h"
#include "load/config_gguf.h"
#include "load/gguf_names.h"
#include "load/published_shapes.h"
#include "model/facts.h"
#include "model/model.h"
#include "ops/backend.h"
#include "ops/backends.h"
#include "pith/engine.h"
#include "tokenize/tokenizer_gguf.h"

namespace pith {
namespace {

template <class Value>
Value Choose(const char* option, const std::string& got,
             const std::vector<std::pair<std::string, Value>>& known) {
  std::string names;
  for (const auto& [name, value] : known) {
    if (name == got) return value;
    names += (names.empty() ? "" : ", ") + name;
  }
  Throw(ErrorCode::kInvalidArgument, option, ": got '", got, "', expected one of ", names);
}

void RequireRange(const char* option, int64_t got, int64_t min, int64_t max) {
  Require(got >= min && got <= max, ErrorCode::kInvalidArgument, option, ": got ", got,
          ", expected ", min, " to ", max);
}

constexpr std::string_view kAllGpus = "cuda:all";

struct DeviceName {
  Device device = Device::kCpu;
  int ordinal = 0;
};

// The N of "cuda:N" is at most three digits; whether there is such a GPU, BackendOf says.
DeviceName ParseDevice(const std::string& got) {
  constexpr std::string_view kGpu = "cuda:";
  Require(got != kAllGpus, ErrorCode::kInvalidArgument, "device: got '", got,
          "', expected one device here: cuda or cuda:N");
  if (got.starts_with(kGpu)) {
    const char* const begin = got.data() + kGpu.size();
    const char* const end = got.data() + got.size();
    int ordinal = -1;
    const auto [rest, error] = std::from_chars(begin, end, ordinal);
    Require(error == std::errc() && rest == end && *begin != '-' && end - begin <= 3,
            ErrorCode::kInvalidArgument, "device: got '", got,
            "', expected cuda:N with the number of a GPU, counted from 0");
    return {Device::kCuda, ordinal};
  }
  return {Choose<Device>(
      "device", got,
      {{"cpu", Device::kCpu}, {"reference", Device::kReference}, {"cuda", Device::kCuda}})};
}

Exec MakeExec(const EngineOptions& options) {
  RequireRange("threads", options.threads, 0, 1024);
  RequireRange("rows-per-chunk", options.rows_per_chunk, 0, int64_t{1} << 20);
  RequireRange("ssd-chunk", options.ssd_chunk, 1, 4096);
  const DeviceName device = ParseDevice(options.device);
  // Throws where this build lacks it or this machine has no such GPU.
  Exec exec{.backend = &BackendOf(device.device, device.ordinal)};
  exec.fp8 = options.dtype == "fp8";
  exec.precision = Choose<Precision>("dtype", options.dtype,
                                     {{"f32", Precision::kF32},
                                      {"bf16", Precision::kBF16},
                                      {"f16", Precision::kF16},
                                      {"fp8", Precision::kBF16}});
  Require(!exec.fp8 || exec.backend->TakesFp8(), ErrorCode::kUnsupported,
          "dtype: got fp8, expected f32 or 16 bits on the device ", options.device,
          " (fp8 takes an NVIDIA GPU of compute capability 9.0)");
  Require(exec.precision != Precision::kF16 || device.device != Device::kCpu,
          ErrorCode::kUnsupported, "dtype: got f16, expected f32 or bf16 on the device cpu");
  exec.state = Choose<DType>("state-dtype", options.state_dtype,
                             {{"f32", DType::kF32}, {"bf16", DType::kBF16}, {"f16", DType::kF16}});
  Require(exec.state == DType::kF32 || device.device == Device::kCuda, ErrorCode::kUnsupported,
          "state-dtype: got ", options.state_dtype, ", expected f32 on the device ",
          options.device);
  const int64_t whole_mixers = EngineOptions().ssd_chunk;  // the only chunk that they take
  Require(exec.state == DType::kF32 || options.ssd_chunk == whole_mixers, ErrorCode::kUnsupported,
          "ssd-chunk: got ", options.ssd_chunk, ", expected ", whole_mixers, " with state-dtype ",
          options.state_dtype);
  exec.threads = options.threads > 0 ? options.threads : UsableProcessors();
  return exec;
}

WeightsAs ParseWeights(const EngineOptions& options) {
  const auto as = Choose<WeightsAs>(
      "weights", options.weights,
      {{"stored", WeightsAs::kStored}, {"int8", WeightsAs::kInt8}, {"int4", WeightsAs::kInt4}});
  Require(as == WeightsAs::kStored || !options.device.starts_with("cuda"), ErrorCode::kUnsupported,
          "weights: got ", options.weights, ", expected stored on the device ", options.device,
          ", which computes with no quantised weights");
  return as;
}

// A processor wants a chunk's rows to stay in its cache, a GPU enough of them to fill it.
int64_t RowsPerChunk(const Exec& exec, const EngineOptions& options) {
  if (options.rows_per_chunk > 0) return options.rows_per_chunk;
  return exec.backend->device() == Device::kCuda ? 16384 : 1024;
}

ModelInfo DescribeModel(const LoadedModel& loaded) {
  const ModelConfig& config = loaded.model.config();
  std::vector<LayerInfo> layers;
  for (int64_t l = 0; l < config.n_layer(); ++l) {
    const LayerKind kind = loaded.model.facts().layers[l].kind;
    layers.push_back({.kind = std::string(KindName(config.layers[l])),
                      .mixes = kind == LayerKind::kMamba || kind == LayerKind::kAttention});
  }
  return {.description = config.Describe(),
          .kind = loaded.model.facts().kind,
          .format = config.format,
          .parameters = loaded.parameters,
          .stored_types = loaded.stored_types,
          .n_layer = config.n_layer(),
          .d_model = config.d_model,
          .vocab_size = config.vocab_size,
          .state_bytes = loaded.model.state_layout().bytes(),
          .state_bytes_per_token = loaded.model.state_layout().bytes_per_token(),
          .end_of_text = std::nullopt,
          .end_of_text_source = "",
          .warnings = loaded.warnings,
          .has_horizon = loaded.model.facts().has_horizon(),
          .layers = std::move(layers)};
}

void CheckVocabulary(const Tokenizer& tokenizer, const std::string& path, ModelInfo* info) {
  Require(tokenizer.vocab_size() <= info->vocab_size, ErrorCode::kCorruptData, path,
          ": the tokenizer has ids up to ", tokenizer.vocab_size() - 1, ", expected at most ",
          info->vocab_size - 1, ", the model's last embedding row");
  // Padding rounds up to a multiple of a few hundred at most.
  if (info->vocab_size - tokenizer.vocab_size() > 1024) {
    info->warnings.push_back(Message(path, ": the tokenizer has ", tokenizer.vocab_size(),
                                     " ids and the model ", info->vocab_size,
                                     " embedding rows: do they belong together?"));
  }
}

std::vector<int32_t> FindEndOfText(const ModelConfig& config,
                                   const std::optional<Tokenizer>& tokenizer, ModelInfo* info) {
  std::vector<int32_t> ids = config.eos_token_ids;
  if (!ids.empty()) {
    CheckTokenIds(config, ids);
    info->end_of_text_source =
        config.format == kGgufFormat ? "tokenizer.ggml.eos_token_id" : "config.json";
  } else if (tokenizer && tokenizer->end_of_text()) {
    ids.push_back(*tokenizer->end_of_text());
    info->end_of_text_source = config.format == kGgufFormat ? "its tokens" : "tokenizer.json";
  }
  if (!ids.empty()) info->end_of_text = ids[0];
  return ids;
}

}  // namespace

std::vector<std::string> DevicesOf(const std::string& device) {
  if (device != kAllGpus) return {device};
  std::vector<std::string> devices;
  for (int i = 0; i < CudaDevices(); ++i) devices.push_back(StrCat("cuda:", i));
  if (devices.empty()) devices.emplace_back("cuda");
  return devices;
}

std::filesystem::path TokenizerOf(const std::filesystem::path& model) {
  if (IsModelFile(model)) {
    const MappedFile file(model);
    return HasVocabulary(Gguf(file.bytes(), model.string())) ? model : std::filesystem::path();
  }
  std::error_code ignored;
  std::filesystem::path path = model / "tokenizer.json";
  return std::filesystem::exists(path, ignored) ? path : std::filesystem::path();
}

ModelShape ReadModelShape(const std::filesystem::path& model) {
  const ModelConfig config = ReadConfigOf(model);
  return {.kind = FactsOf(config).kind, .n_layer = config.n_layer()};
}

Engine Engine::Load(const std::filesystem::path& path, const EngineOptions& options,
                    const std::filesystem::path& tokenizer) {
  const Exec exec = MakeExec(options);
  LoadedModel model = LoadModel(path, exec, options.verify_weights, ParseWeights(options));
  ModelInfo info = DescribeModel(model);
  const std::filesystem::path file = tokenizer.empty() ? TokenizerOf(path) : tokenizer;
  std::optional<Tokenizer> loaded;
  if (!file.empty()) {
    loaded = Tokenizer::FromFile(file);
    CheckVocabulary(*loaded, file.string(), &info);
  }
  std::vector<int32_t> end_of_text = FindEndOfText(model.model.config(), loaded, &info);
  return Engine(std::make_shared<Impl>(Impl{.model = std::move(model.model),
                                            .tokenizer = std::move(loaded),
                                            .exec = exec,
                                            .rows_per_chunk = RowsPerChunk(exec, options),
                                            .ssd_chunk = options.ssd_chunk,
                                            .end_of_text = std::move(end_of_text),
                                            .info = std::move(info)}));
}

Engine Engine::FromShape(std::string_view name, const EngineOptions& options,
                         std::string_view weights) {
  const ModelConfig config = PublishedShape(name);
  const auto dtype = Choose<DType>("weights", std::string(weights),
                                   {{"f32", DType::kF32}, {"bf16", DType::kBF16}});
  const Exec exec = MakeExec(options);
  LoadedModel model = DrawModel(config, exec, dtype, ParseWeights(options));
  ModelInfo info = DescribeModel(model);
  std::vector<int32_t> end_of_text = FindEndOfText(config, std::nullopt, &info);
  return Engine(std::make_shared<Impl>(Impl{.model = std::move(model.model),
                                            .tokenizer = std::nullopt,
                                            .exec = exec,
                                            .rows_per_chunk = RowsPerChunk(exec, options),
                                            .ssd_chunk = options.ssd_chunk,
                                            .end_of_text = std::move(end_of_text),
                                            .info = std::move(info)}));
}

}  // namespace pith
