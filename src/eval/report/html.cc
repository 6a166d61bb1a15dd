#include "eval/report/html.h"

#include <array>
#include <string_view>
#include <variant>

#include "core/error.h"
#include "eval/report/markup.h"

namespace pith {
namespace {

// Blank lines part paragraphs.
std::string Paragraphs(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find("\n\n"), text.size());
    if (end > 0) out += StrCat("<p>", EscapeHtml(text.substr(0, end)), "</p>\n");
    text.remove_prefix(std::min(end + 2, text.size()));
  }
  return out;
}

std::string BlockHtml(const ReportText& text) { return Paragraphs(text.text); }
std::string BlockHtml(const ReportPlot& plot) { return PlotHtml(plot); }
std::string BlockHtml(const ReportMap& map) { return MapHtml(map); }

std::string BlockHtml(const ReportTable& table) {
  std::string out =
      StrCat("<div class=\"scroll\"><table", table.prose ? " class=\"prose\"" : "", ">\n");
  if (!table.title.empty()) out += StrCat("<caption>", EscapeHtml(table.title), "</caption>\n");
  out += "<thead><tr>";
  for (const std::string& column : table.columns) {
    out += StrCat("<th scope=\"col\">", EscapeHtml(column), "</th>");
  }
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    PITH_CHECK(row.size() == table.columns.size());
    out += "<tr>";
    for (const std::string& cell : row) out += StrCat("<td>", EscapeHtml(cell), "</td>");
    out += "</tr>\n";
  }
  return StrCat(out, "</tbody>\n</table></div>\n", NoteHtml(table.note));
}

struct FateStyle {
  std::string_view name;
  std::string_view tag;
};
constexpr std::array<FateStyle, 4> kFates = {
    {{"kept", "span"}, {"pruned", "del"}, {"merged", "ins"}, {"far", "mark"}}};

std::string TokenHtml(const ReportTokens::Token& token) {
  std::string text = EscapeHtml(token.text);
  if (text.empty() || (token.fate == ReportFate::kKept && token.detail.empty())) return text;
  const std::string_view tag = kFates[static_cast<size_t>(token.fate)].tag;
  const std::string title =
      token.detail.empty() ? "" : StrCat(" title=\"", EscapeHtml(token.detail), "\"");
  return StrCat("<", tag, title, ">", text, "</", tag, ">");
}

std::string BlockHtml(const ReportTokens& tokens) {
  std::array<bool, kFates.size()> seen{};
  std::string body;
  for (const auto& token : tokens.tokens) {
    seen[static_cast<size_t>(token.fate)] = true;
    body += TokenHtml(token);
  }
  std::string legend;
  for (size_t i = 0; i < kFates.size(); ++i) {
    if (!seen[i]) continue;
    legend += StrCat(" <", kFates[i].tag, ">", kFates[i].name, "</", kFates[i].tag, ">");
  }
  return StrCat("<figure class=\"tokens\">\n", TitleHtml(tokens.title), "<p class=\"fates\">",
                legend, "</p>\n<pre>", body, "</pre>\n", NoteHtml(tokens.note), "</figure>\n");
}

std::string Contents(const Report& report) {
  if (report.sections.size() < 2) return "";
  std::string out = "<nav aria-label=\"Contents\"><ol>\n";
  for (size_t i = 0; i < report.sections.size(); ++i) {
    out += StrCat("<li><a href=\"#s", i + 1, "\">", EscapeHtml(report.sections[i].heading),
                  "</a></li>\n");
  }
  return out + "</ol></nav>\n";
}

}  // namespace

std::string ToHtml(const Report& report) {
  const std::string title = EscapeHtml(report.title);
  std::string out = StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta "
      "name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<meta "
      "name=\"color-scheme\" content=\"light dark\"/>\n<title>",
      title, "</title>\n<style>\n", PageStyle(), "</style>\n</head>\n<body>\n<main>\n<h1>", title,
      "</h1>\n", Paragraphs(report.summary), Contents(report));
  for (size_t i = 0; i < report.sections.size(); ++i) {
    const ReportSection& section = report.sections[i];
    out += StrCat("<section id=\"s", i + 1, "\">\n<h2>", EscapeHtml(section.heading), "</h2>\n");
    for (const ReportBlock& block : section.blocks) {
      out += std::visit([](const auto& b) { return BlockHtml(b); }, block);
    }
    out += "</section>\n";
  }
  if (!report.footer.empty()) out += StrCat("<footer>", Paragraphs(report.footer), "</footer>\n");
  return out + "</main>\n</body>\n</html>\n";
}

}  // namespace pith
