// The file of LTMP's thresholds (docs/formats/ltmp.md).
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "reduce/ltmp.h"

namespace pith {
namespace {

constexpr const char* kFormat = "pith-ltmp-1";

double FiniteNumber(const JsonReader& reader, const char* field) {
  reader.Field(field);
  const double value = reader.Number(field, 0);
  if (!std::isfinite(value)) reader.Fail(field, "a finite number");
  return value;
}

}  // namespace

std::map<std::string, std::string> LtmpMeaning(const std::map<std::string, std::string>& params) {
  std::map<std::string, std::string> meaning;
  for (const char* key : {"importance", "from", "table", "match", "causal", "window", "block"}) {
    const auto it = params.find(key);
    if (it != params.end()) meaning.insert(*it);
  }
  return meaning;
}

LtmpThresholds LtmpThresholds::Read(const std::filesystem::path& path) {
  constexpr int64_t kMaxBytes = 1 << 20;
  constexpr int64_t kMaxLayer = 1 << 20;
  const Json json = ParseJson(ReadTextFile(path, kMaxBytes), path.string());
  const JsonReader reader(json, path.string());
  if (reader.String("format") != kFormat) reader.Fail("format", kFormat);
  LtmpThresholds thresholds;
  thresholds.keep = FiniteNumber(reader, "keep");
  if (!(thresholds.keep > 0 && thresholds.keep <= 1)) reader.Fail("keep", "above 0, at most 1");
  thresholds.protect = reader.Int("protect", 0, std::numeric_limits<int32_t>::max());
  const Json& options = reader.Field("options");
  if (!options.is_object()) reader.Fail("options", "an object");
  for (const auto& [key, value] : options.items()) {
    if (!value.is_string()) reader.Fail("options", "an object of texts");
    thresholds.options[key] = value.get<std::string>();
  }
  const Json& sites = reader.Field("sites");
  if (!sites.is_array() || sites.empty()) reader.Fail("sites", "a list of at least one site");
  for (const Json& site : sites) {
    const JsonReader at(site, path.string(), StrCat("sites[", thresholds.sites.size(), "]."));
    const auto layer = static_cast<int>(at.Int("layer", 0, kMaxLayer));
    if (!thresholds.sites.empty() && layer <= thresholds.sites.back().layer) {
      at.Fail("layer", "increasing layers");
    }
    thresholds.sites.push_back({layer, FiniteNumber(at, "merge"), FiniteNumber(at, "prune")});
  }
  return thresholds;
}

}  // namespace pith
