#include "eval/fingerprint.h"

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"
#include "pith/version.h"

namespace pith {
namespace {

// "SIZE bytes, CHECKSUM" of the first and the last MiB.
std::string FileMark(const std::filesystem::path& path) {
  constexpr size_t kEnd = 1 << 20;
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  const size_t end = std::min(kEnd, bytes.size());
  Checksum checksum;
  checksum.Add(bytes.first(end));
  checksum.Add(bytes.last(end));
  std::ostringstream out;
  out << bytes.size() << " bytes, " << std::hex << checksum.value();
  return out.str();
}

std::vector<std::filesystem::path> WeightFiles(const std::filesystem::path& model) {
  if (!std::filesystem::is_directory(model)) return {model};
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(model)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".safetensors" || extension == ".bin") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

OrderedJson Fingerprint(const Engine& engine, const EngineOptions& engine_options,
                        const std::filesystem::path& model, const std::filesystem::path& tokenizer,
                        const TaskOptions& task, ScoringMode mode) {
  const ModelInfo& info = engine.info();
  OrderedJson out = {
      {"build", BuildDescription()}, {"model", info.description}, {"parameters", info.parameters}};
  if (std::filesystem::is_directory(model)) out["config"] = FileMark(model / "config.json");
  for (const auto& file : WeightFiles(model)) out[file.filename().string()] = FileMark(file);
  out["tokenizer"] = FileMark(tokenizer.empty() ? TokenizerOf(model) : tokenizer);
  // Which GPU, and how many, changes no score.
  out["device"] = engine_options.device.substr(0, engine_options.device.find(':'));
  out["dtype"] = engine_options.dtype;
  if (engine_options.weights != "stored") out["weights"] = engine_options.weights;
  if (engine_options.state_dtype != "f32") out["state_dtype"] = engine_options.state_dtype;
  out["ssd_chunk"] = engine_options.ssd_chunk;
  out["scoring"] = ScoringModeName(mode);
  out["bos"] = task.bos;
  out["max_tokens"] = task.max_tokens;
  out["text"] = task.text.string();
  out["context"] = task.context;
  out["tail"] = task.tail;
  if (!task.recall.empty()) out["recall"] = task.recall.string();
  out["recall_tokens"] = task.recall_tokens;
  out["seed"] = task.seed;
  if (mode == ScoringMode::kPublishedTail) out["limit"] = task.limit;
  return out;
}

}  // namespace pith
