#include "reduce/unigrams.h"

#include <cmath>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"

namespace pith {

Unigrams::Unigrams(std::vector<double> counts) : counts_(std::move(counts)) {
  for (double count : counts_) {
    PITH_CHECK(count >= 0);
    total_ += count;
  }
  PITH_CHECK(total_ > 0);
}

Unigrams Unigrams::Read(const std::filesystem::path& path) {
  constexpr int64_t kMaxBytes = int64_t{1} << 24;
  constexpr uint64_t kMaxCount = uint64_t{1} << 53;
  const Json json = ParseJson(ReadTextFile(path, kMaxBytes), path.string());
  const JsonReader reader(json, path.string());
  const Json& list = reader.Field("counts");
  std::vector<double> counts;
  double total = 0;
  if (list.is_array()) {
    for (const Json& count : list) {
      if (!count.is_number_unsigned() || count.get<uint64_t>() > kMaxCount) {
        Throw(ErrorCode::kCorruptData, path.string(), ": counts[", counts.size(), "]: got ",
              Excerpt(count.dump(), 40), ", expected a whole number from 0 to 2^53");
      }
      counts.push_back(static_cast<double>(count.get<uint64_t>()));
      total += counts.back();
    }
  }
  Require(total > 0, ErrorCode::kCorruptData, path.string(),
          ": counts: expected a list with a number for each token id, not all of them 0");
  return Unigrams(std::move(counts));
}

float Unigrams::Rarity(int32_t id) const {
  const auto size = static_cast<int64_t>(counts_.size());
  const double count = id >= 0 && id < size ? counts_[id] : 0;
  return static_cast<float>(-std::log((count + 1) / (total_ + static_cast<double>(size))));
}

void TokenRarity(const Unigrams* table, std::span<const int32_t> context,
                 std::span<const int32_t> positions, std::span<float> out) {
  PITH_CHECK(positions.size() == out.size());
  std::unordered_map<int32_t, int64_t> own;
  if (table == nullptr) {
    for (int32_t id : context) ++own[id];
  }
  for (size_t i = 0; i < out.size(); ++i) {
    const int32_t id = context[positions[i]];
    out[i] = table != nullptr ? table->Rarity(id)
                              : static_cast<float>(-std::log(static_cast<double>(own.at(id)) /
                                                             static_cast<double>(context.size())));
  }
}

}  // namespace pith
