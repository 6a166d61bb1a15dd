#include "eval/reproduce/paper_figures.h"

#include <charconv>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "eval/reproduce/paper_tables.h"

namespace pith {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{1} << 20;

using Models = std::map<std::string, std::map<double, double>, std::less<>>;

// {"note": …, "mamba2-2.7b": {".1": number, …}, …}: a share of FLOPs is written without its zero.
Models ReadModels(const JsonReader& top, const std::string& source, const char* field, double most,
                  std::string_view expected) {
  const Json& object = top.Field(field);
  const JsonReader models(object, source, StrCat(field, "."));
  Models out;
  for (const auto& [name, ratios] : object.items()) {
    if (name == "note") continue;
    if (FindPaperModel(name) == nullptr) {
      models.Fail(name.c_str(), "one of mamba2-1.3b, mamba2-2.7b, mamba-1.4b and mamba-2.8b");
    }
    const JsonReader reader(ratios, source, StrCat(field, ".", name, "."));
    for (const auto& entry : ratios.items()) {
      const std::string& key = entry.key();
      double share = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), share);
      if (error != std::errc() || end != key.data() + key.size() || !(share > 0 && share < 1)) {
        reader.Fail(key.c_str(), "a share of FLOPs between 0 and 1 as its name");
      }
      const double value = reader.Number(key.c_str(), 0);
      if (!(value > 0 && value < most)) reader.Fail(key.c_str(), expected);
      out[name][share] = value;
    }
  }
  return out;
}

std::optional<double> Find(const Models& models, std::string_view model, double reduction) {
  const auto found = models.find(model);
  if (found == models.end()) return std::nullopt;
  const auto ratio = found->second.find(reduction);
  return ratio == found->second.end() ? std::nullopt : std::optional(ratio->second);
}

}  // namespace

PaperFigures PaperFigures::Read(const std::filesystem::path& path) {
  return Parse(ReadTextFile(path, kMaxFileBytes), path.string());
}

// Of memory the paper tells what was saved.
PaperFigures PaperFigures::Parse(std::string_view text, const std::string& source) {
  const Json json = ParseJson(text, source);
  const JsonReader top(json, source);
  PaperFigures out;
  out.memory_ = ReadModels(top, source, "peak_memory_reduction", 1, "a share between 0 and 1");
  for (auto& [model, ratios] : out.memory_) {
    for (auto& [share, saved] : ratios) saved = 1 - saved;
  }
  out.throughput_ = ReadModels(top, source, "throughput_ratio", 100, "a ratio between 0 and 100");
  return out;
}

std::optional<double> PaperFigures::Memory(std::string_view model, double reduction) const {
  return Find(memory_, model, reduction);
}

std::optional<double> PaperFigures::Throughput(std::string_view model, double reduction) const {
  return Find(throughput_, model, reduction);
}

}  // namespace pith
