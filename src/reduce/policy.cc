#include "reduce/policy.h"

namespace pith {

bool HasSource(LayerKind kind, Source source) {
  switch (source) {
    case Source::kSsm:
    case Source::kKeys:
      return kind == LayerKind::kMamba || kind == LayerKind::kAttention;
    case Source::kGated:
      return kind != LayerKind::kExperts;
    case Source::kScan:
      return kind == LayerKind::kMamba;
    default:
      return true;
  }
}

std::string_view Lack(Source source) {
  switch (source) {
    case Source::kSsm:
      return "no y, which importance or match reads";
    case Source::kGated:
      return "no rows between its products, which importance or match reads";
    case Source::kKeys:
      return "no B, which match reads";
    case Source::kScan:
      return "no scan, which importance reads";
    default:
      return "";
  }
}

std::string_view NameOf(LayerKind kind) {
  switch (kind) {
    case LayerKind::kAttention:
      return "an attention layer";
    case LayerKind::kMlp:
      return "an MLP";
    case LayerKind::kExperts:
      return "a mixture of experts";
    case LayerKind::kMamba:
      break;
  }
  return "a Mamba layer";
}

}  // namespace pith
