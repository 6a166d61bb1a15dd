#include "tests/load/checkpoint_builder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <map>

#include "core/error.h"

namespace pith::testing {
namespace {

template <class T>
std::string Little(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string Bits(DType dtype, float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (dtype == DType::kF32) return Little<uint32_t>(bits);
  if (dtype == DType::kBF16) return Little<uint16_t>(ToBF16(value).bits);
  if (value == 0.0f) return Little<uint16_t>(0);
  // Exact for test values: four bits of mantissa, exponents of normal binary16.
  const uint32_t exponent = ((bits >> 23) & 0xff) - 127 + 15;
  return Little<uint16_t>(((bits >> 16) & 0x8000) | (exponent << 10) | ((bits >> 13) & 0x3ff));
}

std::string Numbers(const std::vector<int64_t>& numbers) {
  std::string text;
  for (const int64_t n : numbers) text += StrCat(text.empty() ? "" : ",", n);
  return StrCat("[", text, "]");
}

constexpr DType kF32 = DType::kF32;
constexpr DType kF16 = DType::kF16;
constexpr DType kBF16 = DType::kBF16;

}  // namespace

float TestValue(std::string_view name, int64_t i) {
  uint32_t seed = 17;
  for (const char c : name) seed = seed * 31 + static_cast<uint8_t>(c);
  return static_cast<float>(static_cast<int>((seed + 7 * i) % 32) - 16) / 16.0f;
}

TestTensor MakeTensor(std::string name, DType dtype, std::vector<int64_t> shape) {
  TestTensor tensor{.name = std::move(name), .dtype = "", .shape = std::move(shape), .bytes = ""};
  tensor.dtype = dtype == kF32 ? "F32" : dtype == kF16 ? "F16" : "BF16";
  int64_t count = 1;
  for (const int64_t size : tensor.shape) count *= size;
  for (int64_t i = 0; i < count; ++i) tensor.bytes += Bits(dtype, TestValue(tensor.name, i));
  return tensor;
}

TestTensor& TestModel::Find(std::string_view name) {
  for (TestTensor& tensor : tensors) {
    if (tensor.name == name) return tensor;
  }
  throw std::logic_error("no test tensor " + std::string(name));
}

TestModel SsmMamba1() {
  TestModel model{.config = R"({"d_model": 8, "n_layer": 2, "vocab_size": 13, "ssm_cfg": {},
      "rms_norm": true, "residual_in_fp32": true, "fused_add_norm": true,
      "pad_vocab_size_multiple": 8})",
                  .tensors = {MakeTensor("backbone.embedding.weight", kBF16, {16, 8})}};
  for (const std::string layer : {"backbone.layers.0.", "backbone.layers.1."}) {
    for (auto& tensor :
         std::vector<TestTensor>{MakeTensor(layer + "norm.weight", kF32, {8}),
                                 MakeTensor(layer + "mixer.in_proj.weight", kBF16, {32, 8}),
                                 MakeTensor(layer + "mixer.conv1d.weight", kBF16, {16, 1, 4}),
                                 MakeTensor(layer + "mixer.conv1d.bias", kBF16, {16}),
                                 MakeTensor(layer + "mixer.x_proj.weight", kF16, {1 + 2 * 16, 16}),
                                 MakeTensor(layer + "mixer.dt_proj.weight", kF32, {16, 1}),
                                 MakeTensor(layer + "mixer.dt_proj.bias", kF32, {16}),
                                 MakeTensor(layer + "mixer.A_log", kF32, {16, 16}),
                                 MakeTensor(layer + "mixer.D", kF32, {16}),
                                 MakeTensor(layer + "mixer.out_proj.weight", kBF16, {8, 16})}) {
      model.tensors.push_back(tensor);
    }
  }
  model.tensors.push_back(MakeTensor("backbone.norm_f.weight", kF32, {8}));
  return model;
}

TestModel SsmMamba2() {
  TestModel model{.config = R"({"d_model": 8, "d_intermediate": 0, "n_layer": 1, "vocab_size": 16,
      "ssm_cfg": {"layer": "Mamba2", "d_state": 6, "headdim": 4, "ngroups": 2, "d_conv": 3,
                  "chunk_size": 32, "dt_limit": [0.0, Infinity]},
      "attn_layer_idx": [], "attn_cfg": {}, "rms_norm": true, "residual_in_fp32": true,
      "fused_add_norm": true, "pad_vocab_size_multiple": 16, "tie_embeddings": true})",
                  .tensors = {}};
  model.tensors = {MakeTensor("backbone.embedding.weight", kBF16, {16, 8}),
                   MakeTensor("backbone.layers.0.norm.weight", kF32, {8}),
                   MakeTensor("backbone.layers.0.mixer.in_proj.weight", kBF16, {60, 8}),
                   MakeTensor("backbone.layers.0.mixer.conv1d.weight", kBF16, {40, 1, 3}),
                   MakeTensor("backbone.layers.0.mixer.conv1d.bias", kBF16, {40}),
                   MakeTensor("backbone.layers.0.mixer.dt_bias", kF32, {4}),
                   MakeTensor("backbone.layers.0.mixer.A_log", kF32, {4}),
                   MakeTensor("backbone.layers.0.mixer.D", kF32, {4}),
                   MakeTensor("backbone.layers.0.mixer.norm.weight", kF32, {16}),
                   MakeTensor("backbone.layers.0.mixer.out_proj.weight", kBF16, {8, 16}),
                   MakeTensor("backbone.norm_f.weight", kF32, {8})};
  return model;
}

TestModel HfMamba2() {
  TestModel model{.config = R"({"architectures": ["Mamba2ForCausalLM"], "model_type": "mamba2",
      "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 10, "state_size": 6, "expand": 2,
      "num_heads": 4, "head_dim": 4, "n_groups": 2, "conv_kernel": 4, "chunk_size": 8,
      "use_bias": true, "use_conv_bias": true, "hidden_act": "silu", "rms_norm": true,
      "layer_norm_epsilon": 1e-06, "time_step_limit": [0.0, Infinity], "time_step_rank": 1,
      "tie_word_embeddings": false, "eos_token_id": [2, 3], "bos_token_id": 0, "pad_token_id": 1,
      "torch_dtype": "float32", "transformers_version": "4.46.0"})",
                  .tensors = {}};
  model.tensors = {MakeTensor("backbone.embeddings.weight", kF32, {10, 8}),
                   MakeTensor("backbone.layers.0.norm.weight", kF32, {8}),
                   MakeTensor("backbone.layers.0.mixer.in_proj.weight", kF32, {60, 8}),
                   MakeTensor("backbone.layers.0.mixer.in_proj.bias", kF32, {60}),
                   MakeTensor("backbone.layers.0.mixer.conv1d.weight", kF32, {40, 1, 4}),
                   MakeTensor("backbone.layers.0.mixer.conv1d.bias", kF32, {40}),
                   MakeTensor("backbone.layers.0.mixer.dt_bias", kF32, {4}),
                   MakeTensor("backbone.layers.0.mixer.A_log", kF32, {4}),
                   MakeTensor("backbone.layers.0.mixer.D", kF32, {4}),
                   MakeTensor("backbone.layers.0.mixer.norm.weight", kF32, {16}),
                   MakeTensor("backbone.layers.0.mixer.out_proj.weight", kF32, {8, 16}),
                   MakeTensor("backbone.layers.0.mixer.out_proj.bias", kF32, {8}),
                   MakeTensor("backbone.norm_f.weight", kF32, {8}),
                   MakeTensor("lm_head.weight", kF32, {10, 8})};
  return model;
}

TestModel HfFalcon() {
  TestModel model = SsmMamba1();
  model.config = R"({"model_type": "falcon_mamba", "hidden_size": 8, "num_hidden_layers": 2,
      "vocab_size": 16, "state_size": 16, "expand": 2, "intermediate_size": 16, "conv_kernel": 4,
      "time_step_rank": 1, "layer_norm_epsilon": 1e-05, "mixer_rms_eps": 1e-06, "eos_token_id": 11,
      "use_bias": false, "use_conv_bias": true, "hidden_act": "silu"})";
  model.tensors[0] = MakeTensor("backbone.embeddings.weight", kF16, {16, 8});
  return model;
}

std::string SafetensorsFile(std::string_view header, std::string_view data) {
  return Little<uint64_t>(header.size()) + std::string(header) + std::string(data);
}

std::string SafetensorsBytes(const std::vector<TestTensor>& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  std::string data;
  for (const TestTensor& tensor : tensors) {
    const int64_t begin = std::ssize(data);
    data += tensor.bytes;
    header += ",\"" + tensor.name + "\":{\"dtype\":\"" + tensor.dtype +
              "\",\"shape\":" + Numbers(tensor.shape) +
              ",\"data_offsets\":" + Numbers({begin, std::ssize(data)}) + "}";
  }
  header += "}";
  header.append(-header.size() % 8, ' ');
  return SafetensorsFile(header, data);
}

std::string ZipBytes(const std::vector<ZipEntry>& entries, const ZipStyle& style) {
  std::string file;
  std::string central;
  for (const ZipEntry& entry : entries) {
    const uint64_t size = entry.bytes.size();
    const uint64_t offset = file.size();
    const uint16_t flags = entry.flags | (style.sizes_follow ? 8 : 0);
    const auto sizes = [&](bool wide, bool none) {
      const uint32_t shown = none ? 0 : wide ? 0xffffffffu : static_cast<uint32_t>(size);
      return Little(shown) + Little(shown) + Little<uint16_t>(entry.name.size());
    };
    const std::string extra = style.zip64 ? Little<uint16_t>(1) + Little<uint16_t>(24) +
                                                Little(size) + Little(size) + Little(offset)
                                          : "";
    const std::string start = Little<uint16_t>(20) + Little(flags) + Little(entry.method) +
                              Little<uint32_t>(0) + Little<uint32_t>(0);
    file += Little<uint32_t>(0x04034b50) + start + sizes(false, style.sizes_follow) +
            Little<uint16_t>(0) + entry.name + entry.bytes;
    if (style.sizes_follow) {
      file += Little<uint32_t>(0x08074b50) + Little<uint32_t>(0) +
              Little<uint32_t>(static_cast<uint32_t>(size)) +
              Little<uint32_t>(static_cast<uint32_t>(size));
    }
    central +=
        StrCat(Little<uint32_t>(0x02014b50), Little<uint16_t>(20), start, sizes(style.zip64, false),
               Little<uint16_t>(extra.size()), Little<uint16_t>(0), Little<uint16_t>(0),
               Little<uint16_t>(0), Little<uint32_t>(0),
               Little<uint32_t>(style.zip64 ? 0xffffffffu : static_cast<uint32_t>(offset)),
               entry.name, extra);
  }
  const uint64_t at = file.size();
  const uint64_t count = entries.size();
  file += central;
  if (style.zip64) {
    const uint64_t record = file.size();
    file += Little<uint32_t>(0x06064b50) + Little<uint64_t>(44) + Little<uint16_t>(45) +
            Little<uint16_t>(45) + Little<uint32_t>(0) + Little<uint32_t>(0) + Little(count) +
            Little(count) + Little<uint64_t>(central.size()) + Little(at);
    file +=
        Little<uint32_t>(0x07064b50) + Little<uint32_t>(0) + Little(record) + Little<uint32_t>(1);
  }
  return file + Little<uint32_t>(0x06054b50) + Little<uint32_t>(0) +
         Little<uint16_t>(static_cast<uint16_t>(count)) +
         Little<uint16_t>(static_cast<uint16_t>(count)) +
         Little<uint32_t>(static_cast<uint32_t>(central.size())) +
         Little<uint32_t>(style.zip64 ? 0xffffffffu : static_cast<uint32_t>(at)) +
         Little<uint16_t>(0);
}

std::string PickleString(std::string_view text) {
  return "X" + Little<uint32_t>(static_cast<uint32_t>(text.size())) + std::string(text);
}

std::string PickleInt(int64_t value) {
  if (value >= 0 && value < 256) return "K" + Little<uint8_t>(static_cast<uint8_t>(value));
  if (value >= 0 && value < 65536) return "M" + Little<uint16_t>(static_cast<uint16_t>(value));
  if (value >= INT32_MIN && value <= INT32_MAX) {
    return "J" + Little<uint32_t>(static_cast<uint32_t>(value));
  }
  return "\x8a\x08" + Little<uint64_t>(static_cast<uint64_t>(value));
}

std::string PickleTuple(const std::vector<int64_t>& numbers) {
  std::string items;
  for (const int64_t n : numbers) items += PickleInt(n);
  if (numbers.empty()) return ")";
  if (numbers.size() > 3) return "(" + items + "t";
  return items + static_cast<char>(0x84 + numbers.size());
}

std::string PickleTensor(std::string_view storage_type, std::string_view key, int64_t elements,
                         int64_t offset, const std::vector<int64_t>& shape,
                         const std::vector<int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + PickleString("storage") + "ctorch\n" +
         std::string(storage_type) + "\n" + PickleString(key) + PickleString("cpu") +
         PickleInt(elements) + "tQ" + PickleInt(offset) + PickleTuple(shape) +
         PickleTuple(strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}

std::string PickleStateDict(const std::vector<std::pair<std::string, std::string>>& tensors) {
  std::string program =
      "\x80\x02"
      "ccollections\nOrderedDict\n)Rq\x01(";
  for (const auto& [name, tensor] : tensors) program.append(PickleString(name)).append(tensor);
  // The attributes that torch gives a state dict: {"_metadata": OrderedDict()}.
  return program + "u}" + PickleString("_metadata") + "ccollections\nOrderedDict\n)Rsb.";
}

std::vector<ZipEntry> TorchBinEntries(const std::vector<TestTensor>& tensors) {
  std::vector<std::pair<std::string, std::string>> pickled;
  std::vector<ZipEntry> entries(1);
  for (const TestTensor& tensor : tensors) {
    const std::string key = std::to_string(entries.size() - 1);
    std::vector<int64_t> strides(tensor.shape.size());
    int64_t count = 1;
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      strides[i] = count;
      count *= tensor.shape[i];
    }
    static const std::map<std::string, std::string> kTypes = {
        {"F32", "FloatStorage"},  {"F16", "HalfStorage"}, {"BF16", "BFloat16Storage"},
        {"F64", "DoubleStorage"}, {"I64", "LongStorage"}, {"BOOL", "BoolStorage"}};
    const std::string& type = kTypes.at(tensor.dtype);
    pickled.emplace_back(tensor.name, PickleTensor(type, key, count, 0, tensor.shape, strides));
    entries.push_back({.name = "archive/data/" + key, .bytes = tensor.bytes});
  }
  entries[0] = {.name = "archive/data.pkl", .bytes = PickleStateDict(pickled)};
  entries.push_back({.name = "archive/byteorder", .bytes = "little"});
  entries.push_back({.name = "archive/version", .bytes = "3\n"});
  return entries;
}

std::string TorchBinBytes(const std::vector<TestTensor>& tensors) {
  return ZipBytes(TorchBinEntries(tensors), {.zip64 = true, .sizes_follow = true});
}

TempDir::TempDir() {
  static std::atomic<int> counter{0};
  path_ = std::filesystem::temp_directory_path() /
          ("pith_load_test." + std::to_string(::getpid()) + "." + std::to_string(counter++));
  std::filesystem::create_directories(path_);
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void TempDir::Write(const std::string& name, std::string_view bytes) const {
  std::filesystem::remove(path_ / name);  // never cut a file short that something still maps
  std::ofstream out(path_ / name, std::ios::binary);
  out << bytes;
  if (!out.flush()) throw std::runtime_error("cannot write a test file");
}

std::vector<std::byte> ToBytes(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

void ForEachDamage(const std::string& bytes, const std::function<void(const std::string&)>& check) {
  for (size_t size = 0; size < bytes.size(); ++size) check(bytes.substr(0, size));
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const uint8_t mask : {0x01, 0x04, 0x10, 0x80, 0xff}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ mask);
      check(damaged);
    }
  }
}

std::string ErrorOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "expected a pith::Error";
  return "";
}

}  // namespace pith::testing
