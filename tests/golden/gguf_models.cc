#include "tests/golden/gguf_models.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"
#include "tests/load/gguf_builder.h"

namespace pith::testing {
namespace {

constexpr uint64_t kWidth = 256, kInner = 512, kVocab = 96, kConv = 4, kRank = 24;
constexpr uint64_t kSsmHeads = 8, kGroups = 2;
constexpr uint64_t kHeads = 4, kKvHeads = 2, kHeadDim = 64, kHidden = 512, kShared = 256;
constexpr uint64_t kExperts = 4, kChosen = 2;

using Type = GgufModelType;
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
    bytes += LittleBytes(z ^ (z >> 31));
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
  bytes.replace(at, 2, LittleBytes(bits));
}

std::string Matrix(const Type& type, uint64_t tensor, size_t count) {
  std::string bytes;
  if (type.block == 1) {
    for (const char byte : Draw(tensor, count)) {
      const float value = Signed(byte) * 0x1p-10f;
      if (type.name == "F32") bytes += LittleBytes(std::bit_cast<uint32_t>(value));
      if (type.name == "F16") bytes += LittleBytes(ToF16(value).bits);
      if (type.name == "BF16") bytes += LittleBytes(ToBF16(value).bits);
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
    bytes += LittleBytes(std::bit_cast<uint32_t>(value));
  }
  return bytes;
}

enum class Mixer : uint8_t { kNone, kMamba1, kMamba2, kAttention, kBoth };
enum class Second : uint8_t { kNone, kMlp, kReluSquared, kExperts };
struct Block {
  Mixer mixer;
  Second second;
};

struct ModelSpec {
  std::string name, arch;
  std::vector<Block> blocks;
  float theta = 0;  // 0: no rotation
  bool rms = false, factors = false, multipliers = false, biases = false, shared = false;

  bool Mixes(Mixer mixer) const {
    return std::ranges::any_of(blocks, [&](const Block& b) { return b.mixer == mixer; });
  }
  bool Attends() const { return Mixes(Mixer::kAttention) || Mixes(Mixer::kBoth); }
  bool Scans() const {
    return Mixes(Mixer::kMamba1) || Mixes(Mixer::kMamba2) || Mixes(Mixer::kBoth);
  }
};

constexpr Block kAttentionMlp = {Mixer::kAttention, Second::kMlp};

const ModelSpec kModels[] = {
    {"mamba", "mamba", {2, {Mixer::kMamba1, Second::kNone}}},
    {"mamba-rms", "mamba", {2, {Mixer::kMamba1, Second::kNone}}, 0, true},
    {"mamba2", "mamba2", {2, {Mixer::kMamba2, Second::kNone}}},
    {.name = "llama",
     .arch = "llama",
     .blocks = {2, kAttentionMlp},
     .theta = 1e4F,
     .factors = true},
    {.name = "qwen2", .arch = "qwen2", .blocks = {2, kAttentionMlp}, .theta = 1e6F, .biases = true},
    {.name = "granite",
     .arch = "granite",
     .blocks = {2, kAttentionMlp},
     .theta = 1e4F,
     .multipliers = true},
    {.name = "granitehybrid",
     .arch = "granitehybrid",
     .blocks = {{Mixer::kMamba2, Second::kMlp}, kAttentionMlp},
     .multipliers = true},
    {.name = "granitehybrid-experts",
     .arch = "granitehybrid",
     .blocks = {{Mixer::kMamba2, Second::kExperts}, {Mixer::kAttention, Second::kExperts}},
     .multipliers = true,
     .shared = true},
    {.name = "jamba",
     .arch = "jamba",
     .blocks = {{Mixer::kMamba1, Second::kMlp}, {Mixer::kAttention, Second::kExperts}}},
    {.name = "nemotron_h",
     .arch = "nemotron_h",
     .blocks = {{Mixer::kMamba2, Second::kNone},
                {Mixer::kAttention, Second::kNone},
                {Mixer::kNone, Second::kReluSquared}}},
    {.name = "falcon-h1",
     .arch = "falcon-h1",
     .blocks = {2, {Mixer::kBoth, Second::kMlp}},
     .theta = 1e4F}};

class Builder {
 public:
  Builder(const ModelSpec& model, Type type) : model_(model), type_(std::move(type)) {
    AddKeys();
    AddMatrix("token_embd.weight", {kVocab, kWidth});
    AddVector("output_norm.weight", {kWidth});
    if (model_.factors) AddVector("rope_freqs.weight", {kHeadDim / 2});
    for (size_t n = 0; n < model_.blocks.size(); ++n) AddBlock(model_.blocks[n], n);
  }
  std::string Bytes() const { return file_.Bytes(); }

 private:
  void Set(const char* key, uint64_t value) {
    file_.Set(StrCat(model_.arch, ".", key), GgufUint32(static_cast<uint32_t>(value)));
  }
  void SetFloat(const char* key, float value) {
    file_.Set(StrCat(model_.arch, ".", key), GgufFloat32(value));
  }

  void AddKeys() {
    file_.Set("general.architecture", GgufText(model_.arch));
    Set("embedding_length", kWidth), Set("block_count", model_.blocks.size());
    Set("vocab_size", kVocab);
    SetFloat("attention.layer_norm_rms_epsilon", 1e-5F);
    if (model_.arch == "nemotron_h") SetFloat("attention.layer_norm_epsilon", 1e-5F);
    if (model_.Scans()) {
      const bool one = model_.Mixes(Mixer::kMamba1);
      Set("ssm.conv_kernel", kConv), Set("ssm.inner_size", kInner);
      Set("ssm.state_size", State()), Set("ssm.time_step_rank", one ? kRank : kSsmHeads);
      if (!one) Set("ssm.group_count", kGroups);
    }
    if (model_.arch == "mamba") file_.Set("mamba.ssm.dt_b_c_rms", GgufBool(model_.rms));
    if (!model_.arch.starts_with("mamba")) AddBlockKeys();
  }

  void AddBlockKeys() {
    std::vector<int32_t> kv_heads, hidden;
    bool mixture = false;
    for (const Block& block : model_.blocks) {
      const bool attends = block.mixer == Mixer::kAttention || block.mixer == Mixer::kBoth;
      kv_heads.push_back(attends ? kKvHeads : 0);
      hidden.push_back(block.second == Second::kNone ? 0 : kHidden);
      mixture = mixture || block.second == Second::kExperts;
    }
    const std::string prefix = model_.arch + ".";
    file_.Set(prefix + "attention.head_count_kv", GgufInts(kv_heads));
    file_.Set(prefix + "feed_forward_length", GgufInts(hidden));
    Set("attention.head_count", kHeads);
    Set("attention.key_length", kHeadDim), Set("attention.value_length", kHeadDim);
    if (model_.theta > 0) {
      Set("rope.dimension_count", kHeadDim), SetFloat("rope.freq_base", model_.theta);
    }
    if (mixture) Set("expert_count", kExperts), Set("expert_used_count", kChosen);
    if (model_.shared) Set("expert_shared_feed_forward_length", kShared);
    if (!model_.multipliers) return;
    file_.Set(prefix + "rope.scaling.finetuned", GgufBool(model_.theta > 0));
    SetFloat("embedding_scale", 2), SetFloat("residual_scale", 0.5F);
    SetFloat("attention.scale", 0.1F), SetFloat("logit_scale", 4);
  }

  uint64_t State() const { return model_.Mixes(Mixer::kMamba1) ? 16 : 64; }

  // Tensors are numbered in the file's order; sizes have the outermost first.
  void AddMatrix(const std::string& name, const std::vector<uint64_t>& sizes) {
    Add(name, sizes, type_.number,
        [&](uint64_t at, size_t count) { return Matrix(type_, at, count); });
  }
  // Of rows that are no whole blocks, or that llama.cpp wants so.
  void AddWideMatrix(const std::string& name, const std::vector<uint64_t>& sizes) {
    Add(name, sizes, 0, [&](uint64_t at, size_t count) { return Matrix(kTypes[0], at, count); });
  }
  void AddVector(const std::string& name, const std::vector<uint64_t>& sizes) {
    Add(name, sizes, 0, [&](uint64_t at, size_t count) { return Vector(name, at, count); });
  }
  template <class Bytes>
  void Add(const std::string& name, const std::vector<uint64_t>& sizes, uint32_t type,
           const Bytes& bytes) {
    size_t count = 1;
    for (const uint64_t size : sizes) count *= size;
    const std::string data = bytes(file_.tensors.size(), count);
    file_.tensors.push_back(
        {.name = name, .dims = {sizes.rbegin(), sizes.rend()}, .type = type, .bytes = data});
  }

  void AddBlock(const Block& block, size_t n) {
    const std::string p = StrCat("blk.", n, ".");
    AddVector(p + "attn_norm.weight", {kWidth});
    if (block.mixer == Mixer::kMamba1) AddMamba1(p);
    if (block.mixer == Mixer::kMamba2 || block.mixer == Mixer::kBoth) AddMamba2(p);
    if (block.mixer == Mixer::kAttention || block.mixer == Mixer::kBoth) AddAttention(p);
    if (block.second == Second::kNone) return;
    const char* const norm = model_.arch == "falcon-h1" ? "ffn_norm" : "ffn_norm.weight";
    if (block.mixer != Mixer::kNone) AddVector(p + norm, {kWidth});
    if (block.second != Second::kExperts) return AddMlp(p, "", kHidden, block.second, {});
    AddWideMatrix(p + "ffn_gate_inp.weight", {kExperts, kWidth});
    AddMlp(p, "_exps", kHidden, Second::kMlp, {kExperts});
    if (model_.shared) AddMlp(p, "_shexp", kShared, Second::kMlp, {});
  }

  void AddMlp(const std::string& p, const char* suffix, uint64_t width, Second kind,
              const std::vector<uint64_t>& experts) {
    const auto add = [&](const char* name, uint64_t rows, uint64_t cols) {
      std::vector<uint64_t> sizes = experts;
      sizes.insert(sizes.end(), {rows, cols});
      AddMatrix(StrCat(p, "ffn_", name, suffix, ".weight"), sizes);
    };
    if (kind == Second::kMlp) add("gate", width, kWidth);
    add("up", width, kWidth);
    add("down", kWidth, width);
  }
  void AddAttention(const std::string& p) {
    for (const auto& [name, heads] : {std::pair("q", kHeads), {"k", kKvHeads}, {"v", kKvHeads}}) {
      AddMatrix(StrCat(p, "attn_", name, ".weight"), {heads * kHeadDim, kWidth});
      if (model_.biases) AddVector(StrCat(p, "attn_", name, ".bias"), {heads * kHeadDim});
    }
    AddMatrix(p + "attn_output.weight", {kWidth, kHeads * kHeadDim});
  }
  void AddFront(const std::string& p, uint64_t rows, uint64_t channels) {
    AddMatrix(p + "ssm_in.weight", {rows, kWidth});
    AddVector(p + "ssm_conv1d.weight", {channels, kConv});
    AddVector(p + "ssm_conv1d.bias", {channels});
  }
  void AddMamba1(const std::string& p) {
    AddFront(p, 2 * kInner, kInner);
    AddMatrix(p + "ssm_x.weight", {kRank + 2 * State(), kInner});
    AddWideMatrix(p + "ssm_dt.weight", {kInner, kRank});
    AddVector(p + "ssm_dt.bias", {kInner});
    AddVector(p + "ssm_a", {kInner, State()});
    AddVector(p + "ssm_d", {kInner});
    AddMatrix(p + "ssm_out.weight", {kWidth, kInner});
    if (model_.arch != "jamba") return;
    AddVector(p + "ssm_dt_norm.weight", {kRank});
    AddVector(p + "ssm_b_norm.weight", {State()});
    AddVector(p + "ssm_c_norm.weight", {State()});
  }
  void AddMamba2(const std::string& p) {
    const uint64_t channels = kInner + 2 * kGroups * State();
    AddFront(p, kInner + channels + kSsmHeads, channels);
    AddVector(p + "ssm_dt.bias", {kSsmHeads});
    AddVector(p + "ssm_a", {kSsmHeads, 1});
    AddVector(p + "ssm_d", {kSsmHeads, 1});
    AddVector(p + "ssm_norm.weight", {kGroups, kInner / kGroups});
    AddMatrix(p + "ssm_out.weight", {kWidth, kInner});
  }

  const ModelSpec& model_;
  const Type type_;
  GgufTestFile file_;
};

}  // namespace

GgufModelType FindGgufModelType(const std::string& name) {
  const auto* const found = std::ranges::find(kTypes, name, &Type::name);
  PITH_CHECK(found != std::end(kTypes));
  return *found;
}

std::string GgufModelBytes(const std::string& model, const GgufModelType& type) {
  const auto* const found = std::ranges::find(kModels, model, &ModelSpec::name);
  PITH_CHECK(found != std::end(kModels));
  return Builder(*found, type).Bytes();
}

}  // namespace pith::testing
