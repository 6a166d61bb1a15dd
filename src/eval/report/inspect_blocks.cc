#include "eval/report/inspect_blocks.h"

#include <algorithm>

#include "core/error.h"
#include "core/utf8.h"
#include "eval/report/markup.h"

namespace pith {
namespace {

constexpr size_t kTenths = 10;

std::string Place(int layer) {
  return layer < 0 ? "before layer 0" : StrCat("after layer ", layer);
}

std::string Percent(double share) { return Significant(100 * share, 3) + " %"; }

// Counts of one context: [site][tenth] tokens left, and tokens of each tenth.
struct TenthCounts {
  std::vector<std::vector<double>> left;
  std::vector<double> all = std::vector<double>(kTenths, 0);
};

TenthCounts CountTenths(const InspectReport& report) {
  const size_t sites = report.plan.sites.size();
  TenthCounts counts{.left = {sites, std::vector<double>(kTenths, 0)}};
  for (size_t p = 0; p < report.tokens.size(); ++p) {
    const size_t tenth = p * kTenths / report.tokens.size();
    const int site = report.tokens[p].site;
    ++counts.all[tenth];
    for (size_t s = 0; s < sites; ++s) {
      if (site < 0 || site > static_cast<int>(s)) ++counts.left[s][tenth];
    }
  }
  return counts;
}

std::string Detail(const InspectReport& report, const TokenFate& token,
                   const std::vector<std::string>& texts) {
  if (token.site < 0) return token.far ? "far: writes state only" : "";
  const std::string place = Place(report.plan.sites.at(token.site).layer);
  if (token.merged_into < 0) return "pruned " + place;
  return StrCat("merged ", place, " into token ", token.merged_into, " (",
                texts.at(token.merged_into), ")");
}

ReportFate Fate(const TokenFate& token, int last_site) {
  if (token.site < 0 || token.site > last_site) {
    return token.far ? ReportFate::kFar : ReportFate::kKept;
  }
  return token.merged_into < 0 ? ReportFate::kPruned : ReportFate::kMerged;
}

}  // namespace

std::vector<std::string> WholeCharacters(std::span<const std::string> pieces) {
  std::string text;
  std::vector<size_t> ends;
  for (const std::string& piece : pieces) {
    text += piece;
    ends.push_back(text.size());
  }
  size_t next = 0;  // the first end that is not yet known to lie between characters
  for (size_t at = 0; at < text.size();) {
    const Utf8Sequence sequence = NextUtf8(std::string_view(text).substr(at));
    for (; next < ends.size() && ends[next] < at + sequence.length; ++next) {
      if (ends[next] > at && sequence.kind == Utf8Kind::kValid) ends[next] = at + sequence.length;
    }
    at += sequence.length;
  }
  std::vector<std::string> texts;
  for (size_t begin = 0; const size_t end : ends) {
    texts.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return texts;
}

std::vector<std::string> TokenTexts(const Engine& engine, std::span<const TokenFate> tokens) {
  std::vector<std::string> pieces;
  for (const TokenFate& token : tokens) pieces.push_back(engine.Detokenize({&token.id, 1}));
  return WholeCharacters(pieces);
}

ReportMap KeptPositions(const Engine& engine, std::span<const std::vector<int32_t>> contexts,
                        const ReductionOptions& reduction, const RunControl& control) {
  ReportMap map{.row_title = "site", .column_title = "tenth of the context", .numbers = true};
  for (size_t tenth = 1; tenth <= kTenths; ++tenth) map.column_labels.push_back(StrCat(tenth));
  for (size_t c = 0; c < contexts.size(); ++c) {
    RunControl part{.cancel = control.cancel, .progress = nullptr};
    if (control.progress) {
      part.progress = [&, c](double share) {
        control.progress((static_cast<double>(c) + share) / static_cast<double>(contexts.size()));
      };
    }
    const InspectReport report = engine.Inspect(contexts[c], reduction, part);
    const TenthCounts counts = CountTenths(report);
    if (c == 0) {
      map.title = report.plan.reduce;
      map.values.assign(counts.left.size(), std::vector<double>(kTenths, 0));
      for (const SiteRows& site : report.plan.sites) map.row_labels.push_back(Place(site.layer));
    }
    PITH_CHECK(counts.left.size() == map.values.size());
    for (size_t s = 0; s < map.values.size(); ++s) {
      for (size_t t = 0; t < kTenths; ++t) {
        if (counts.all[t] == 0) continue;
        map.values[s][t] +=
            counts.left[s][t] / counts.all[t] / static_cast<double>(contexts.size());
      }
    }
  }
  map.note = StrCat("Share of the tokens of each tenth that are left after each site; mean over ",
                    contexts.size(), contexts.size() == 1 ? " context." : " contexts.");
  return map;
}

ReportMap WrittenPairs(const InspectReport& report) {
  ReportMap map{.title = StrCat(report.plan.reduce, ": writes of far tokens"),
                .row_title = "layer, heads from top to bottom",
                .column_title = "chunk of the far region, oldest first"};
  std::string layers;
  double all_written = 0;
  double all_pairs = 0;
  for (size_t layer = 0; layer < report.far_writes.size(); ++layer) {
    const auto& heads = report.far_writes[layer];
    double written = 0;
    double pairs = 0;
    for (const std::vector<uint8_t>& head : heads) {
      map.row_labels.push_back(&head == &heads.front() ? std::to_string(layer) : "");
      map.values.emplace_back(head.begin(), head.end());
      written += static_cast<double>(std::ranges::count(head, 1));
      pairs += static_cast<double>(head.size());
    }
    if (pairs == 0) continue;
    layers += StrCat(layers.empty() ? "" : ", ", layer, ": ", Percent(written / pairs));
    all_written += written;
    all_pairs += pairs;
  }
  if (all_pairs == 0) {
    map.note = "Every far write was made, or there are no far tokens.";
    return map;
  }
  const size_t chunks = map.values.front().size();
  for (size_t c = 0; c < chunks; ++c) map.column_labels.push_back(StrCat(c));
  map.note = StrCat(
      "Coloured: the head still remembers the chunk at the end of the far region, so it was "
      "written. ",
      Percent(all_written / all_pairs), " of ", all_pairs, " pairs of head and chunk",
      report.plan.skim ? StrCat(" (", report.plan.skim->chunk, " tokens each)") : "",
      " were; by layer ", layers, ". Realised reduction ", Percent(report.plan.realised), " of ",
      report.plan.tokens, " tokens.");
  return map;
}

ReportTokens FateTokens(const InspectReport& report, const Engine& engine,
                        std::optional<int> site) {
  const PlanReport& plan = report.plan;
  const std::vector<std::string> texts = TokenTexts(engine, report.tokens);
  const int last = site.value_or(static_cast<int>(plan.sites.size()) - 1);
  ReportTokens tokens{.title = plan.reduce};
  if (site) tokens.title += ", " + Place(plan.sites.at(*site).layer);
  int64_t kept = 0;
  for (size_t p = 0; p < texts.size(); ++p) {
    const TokenFate& token = report.tokens[p];
    if (site && token.site >= 0 && token.site < *site) continue;
    const ReportFate fate = Fate(token, last);
    kept += fate == ReportFate::kKept ? 1 : 0;
    tokens.tokens.push_back(
        {texts[p], fate,
         fate == ReportFate::kPruned || fate == ReportFate::kMerged || fate == ReportFate::kFar
             ? Detail(report, token, texts)
             : ""});
  }
  tokens.note = StrCat(kept, " of ", tokens.tokens.size(), " tokens kept; realised reduction ",
                       Percent(plan.realised), ".");
  return tokens;
}

}  // namespace pith
