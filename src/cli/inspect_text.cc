#include "cli/inspect_text.h"

#include <algorithm>
#include <array>

#include "cli/site_text.h"
#include "cli/text.h"
#include "core/error.h"
#include "eval/report/inspect_blocks.h"

namespace pith::cli {
namespace {

// Around a token: escape codes, or marks where there are no colours.
struct Marks {
  std::string_view begin;
  std::string_view end;
};
constexpr Marks kPrunedColour = {"\033[31;9m", "\033[0m"};
constexpr Marks kMergedColour = {"\033[34;4m", "\033[0m"};
constexpr Marks kPrunedPlain = {"[-", "-]"};
constexpr Marks kMergedPlain = {"{+", "+}"};

std::string Marked(const Marks& marks, std::string_view text) {
  return StrCat(marks.begin, text, marks.end);
}

const char* Branches(const TokenFate& token) {
  if (token.merged_hidden && token.merged_residual) return "both branches";
  return token.merged_hidden ? "hidden branch" : "residual branch";
}

// A string of 0 and 1 per head.
OrderedJson FarWritesJson(const std::vector<std::vector<std::vector<uint8_t>>>& layers) {
  OrderedJson json = OrderedJson::array();
  for (const auto& heads : layers) {
    OrderedJson& list = json.emplace_back(OrderedJson::array());
    for (const std::vector<uint8_t>& head : heads) {
      std::string writes;
      for (const uint8_t written : head) writes += written != 0 ? '1' : '0';
      list.push_back(writes);
    }
  }
  return json;
}

}  // namespace

InspectView::InspectView(const InspectReport& report, const Engine& engine) : report_(&report) {
  pieces_ = TokenTexts(engine, report.tokens);
}

InspectView::Fate InspectView::FateAt(const TokenFate& token, int site) const {
  if (token.site < 0 || token.site > site) return Fate::kKept;
  if (token.site < site) return Fate::kGone;
  return token.merged_into < 0 ? Fate::kPruned : Fate::kMerged;
}

OrderedJson InspectView::TokenJson(size_t position, std::optional<int> site) const {
  const TokenFate& token = report_->tokens[position];
  OrderedJson json = {{"position", position}, {"id", token.id}, {"text", pieces_[position]}};
  const int last = static_cast<int>(report_->plan.sites.size()) - 1;
  if (token.site < 0 || FateAt(token, site.value_or(last)) == Fate::kKept) {
    json["fate"] = token.far ? "far" : "kept";
    return json;
  }
  json["fate"] = token.merged_into < 0 ? "pruned" : "merged";
  json["site"] = report_->plan.sites.at(token.site).layer;
  if (token.merged_into >= 0) {
    json["into"] = token.merged_into;
    json["hidden"] = token.merged_hidden;
    json["residual"] = token.merged_residual;
  }
  return json;
}

OrderedJson InspectView::ToJson(std::optional<int> site) const {
  OrderedJson json = PlanJson(report_->plan);
  if (site) json["site"] = report_->plan.sites.at(*site).layer;
  OrderedJson& fates = json["fates"] = OrderedJson::array();
  for (size_t p = 0; p < pieces_.size(); ++p) {
    if (site && FateAt(report_->tokens[p], *site) == Fate::kGone) continue;
    fates.push_back(TokenJson(p, site));
  }
  if (!report_->far_writes.empty()) json["far_writes"] = FarWritesJson(report_->far_writes);
  return json;
}

std::string InspectView::MergesText(int site, size_t most) const {
  Table table({{"", Align::kRight},
               {"", Align::kLeft},
               {""},
               {""},
               {"", Align::kLeft},
               {"", Align::kLeft}});
  size_t merges = 0;
  for (size_t p = 0; p < pieces_.size(); ++p) {
    const TokenFate& token = report_->tokens[p];
    if (FateAt(token, site) != Fate::kMerged || ++merges > most) continue;
    table.AddRow({StrCat("  ", p), Quoted(pieces_[p]), "into", std::to_string(token.merged_into),
                  Quoted(pieces_.at(token.merged_into)), Branches(token)});
  }
  std::string text = table.ToString(false);
  if (merges > most) {
    text += StrCat("  … and ", merges - most, " more; --site ", report_->plan.sites[site].layer,
                   " lists them all\n");
  }
  return text;
}

std::string InspectView::SiteText(int site, bool colours, size_t most_merges) const {
  const SiteRows& rows = report_->plan.sites.at(site);
  const Marks& pruned_marks = colours ? kPrunedColour : kPrunedPlain;
  const Marks& merged_marks = colours ? kMergedColour : kMergedPlain;
  int64_t pruned = 0;
  int64_t merged = 0;
  std::string body;
  for (size_t p = 0; p < pieces_.size(); ++p) {
    const std::string piece = Printable(pieces_[p], true);
    switch (FateAt(report_->tokens[p], site)) {
      case Fate::kGone:
        break;
      case Fate::kKept:
        body += piece;
        break;
      case Fate::kPruned:
        ++pruned;
        body += Marked(pruned_marks, piece);
        break;
      case Fate::kMerged:
        ++merged;
        body += Marked(merged_marks, piece);
        break;
    }
  }
  const std::string title = StrCat("— site ", site + 1, " of ", report_->plan.sites.size(), ", ",
                                   SitePlace(rows.layer), ": ", rows.in, " rows in, ", rows.out,
                                   " kept, ", pruned, " pruned, ", merged, " merged —");
  return StrCat("\n", colours ? Marked({"\033[1m", "\033[0m"}, title) : title, "\n", body, "\n",
                MergesText(site, most_merges));
}

std::string InspectView::ToText(std::optional<int> site, bool colours) const {
  constexpr size_t kMostMerges = 10;
  const PlanReport& plan = report_->plan;
  const auto kept =
      std::ranges::count_if(report_->tokens, [](const auto& t) { return t.site < 0; });
  std::string text = StrCat(plan.reduce, ": ", plan.tokens, " tokens, ", kept,
                            " kept to the end, realised reduction ", Percent(plan.realised), "\n");
  if (plan.skim) {
    return text + StrCat("Nothing is removed. The first ", plan.skim->far,
                         " tokens are far: in skimmed layers they only write state.\n");
  }
  if (plan.sites.empty()) return text + "Nothing is removed.\n";
  text += StrCat("legend: kept ", Marked(colours ? kPrunedColour : kPrunedPlain, "pruned"), " ",
                 Marked(colours ? kMergedColour : kMergedPlain, "merged"),
                 "; what an earlier site removed is left out\n");
  for (int s = 0; s < static_cast<int>(plan.sites.size()); ++s) {
    if (!site) text += SiteText(s, colours, kMostMerges);
    if (site == s) text += SiteText(s, colours, pieces_.size());
  }
  return text;
}

}  // namespace pith::cli
