// The report page: any text comes out as text, the markup is balanced, and what is drawn lies where
// the axes say. Positions are checked against the page's own ticks: a linear map through two ticks
// must give every point, to the two digits that coordinates have (so within .02 of a unit).

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <regex>
#include <string>
#include <vector>

#include "core/error.h"
#include "eval/report/axis.h"
#include "eval/report/html.h"
#include "eval/report/markup.h"

namespace pith {
namespace {

size_t Count(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

// The first tag that closes nothing or is not closed; empty for balanced markup.
std::string Unbalanced(const std::string& html) {
  std::vector<std::string> open;
  static const std::regex tag(
      R"re(<(/?)([a-z][a-z0-9]*)((?:\s+[a-zA-Z-]+="[^"<]*")*)\s*(/?)>|<)re");
  for (auto it = std::sregex_iterator(html.begin(), html.end(), tag); it != std::sregex_iterator();
       ++it) {
    const std::smatch& m = *it;
    if (m[2].length() == 0) {
      if (html.compare(m.position(), 9, "<!DOCTYPE") != 0) return html.substr(m.position(), 40);
    } else if (m[1].length() > 0) {
      if (open.empty() || open.back() != m[2]) return m.str();
      open.pop_back();
    } else if (m[4].length() == 0) {
      open.push_back(m[2]);
    }
  }
  return open.empty() ? "" : open.back();
}

ReportPlot SomePlot() {
  return {.title = "plot",
          .x_label = "x",
          .y_label = "y",
          .series = {{"one", {{0, 1, 0.25, "a"}, {10, 3, 0, "b"}, {20, 2.5, 0.5, "c"}}},
                     {"two", {{30, 4}}}},
          .baseline = 2};
}

Report Everything(const std::string& text) {
  ReportPlot plot = SomePlot();
  plot.title = plot.x_label = plot.y_label = plot.note = plot.series[0].name = text;
  plot.series[0].points[0].label = text;
  const ReportTable table{text, {text, text}, {{text, text}}, text};
  const ReportMap map{text, text, text, {text, text}, {text}, {{0.2}, {-1}}, true, text};
  const ReportTokens tokens{text,
                            {{text, ReportFate::kPruned, text},
                             {text, ReportFate::kKept, ""},
                             {text, ReportFate::kMerged, ""},
                             {text, ReportFate::kFar, ""}},
                            text};
  return {.title = text,
          .summary = text,
          .sections = {{text, {ReportText{text}, table, plot}}, {text, {map, tokens}}},
          .footer = text};
}

TEST(Report, TextComesOutAsText) {
  EXPECT_EQ(EscapeHtml("a<b> & \"c\" 'd'"), "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  EXPECT_EQ(EscapeHtml("é\xFF\xC4|\x01\n\t\xEF\xBF\xBE"), "é��|�\n\t�");
  const std::string html = ToHtml(Everything("</pre><script>\"'&amp;\xC4\x02"));
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_NE(html.find("&amp;amp;"), std::string::npos);
}

TEST(Report, IsBalancedAndNeedsNothingElse) {
  EXPECT_NE(Unbalanced("<p><b>x</p></b>"), "");
  EXPECT_NE(Unbalanced("<p>1 < 2</p>"), "");
  for (const char* text : {"plain", "<svg/onload=\"x\">", "</figure>", "a\n\nb\n\n\n\nc", ""}) {
    const std::string html = ToHtml(Everything(text));
    EXPECT_EQ(Unbalanced(html), "") << text;
    for (const char* outside : {"http", "url(", "@import", "<link", "<img", " src="}) {
      EXPECT_EQ(html.find(outside), std::string::npos) << outside;
    }
  }
  EXPECT_EQ(Unbalanced(ToHtml({})), "");
}

TEST(Report, SameBytesEveryTime) {
  EXPECT_EQ(ToHtml(Everything("text")), ToHtml(Everything("text")));
}

TEST(Report, ARowAsWideAsTheColumns) {
  Report report;
  report.sections = {{"", {ReportTable{"", {"a", "b"}, {{"1"}}}}}};
  EXPECT_THROW(ToHtml(report), Error);
}

std::vector<std::string> Labels(const Axis& axis) {
  std::vector<std::string> labels;
  for (const AxisTick& tick : axis.ticks()) labels.push_back(tick.label);
  return labels;
}

TEST(Axis, LinearTicks) {
  using Strings = std::vector<std::string>;
  EXPECT_EQ(Labels(Axis(0, 30, false)), (Strings{"0", "5", "10", "15", "20", "25", "30"}));
  EXPECT_EQ(Labels(Axis(-0.013, 0.028, false, 4)),
            (Strings{"-0.02", "-0.01", "0.00", "0.01", "0.02", "0.03"}));
  EXPECT_EQ(Labels(Axis(3.61, 3.94, false, 4)), (Strings{"3.6", "3.7", "3.8", "3.9", "4.0"}));
}

TEST(Axis, LogTicks) {
  using Strings = std::vector<std::string>;
  EXPECT_EQ(Labels(Axis(0.9, 120, true)), (Strings{"1", "2", "5", "10", "20", "50", "100"}));
  EXPECT_EQ(Labels(Axis(1e-3, 1e4, true)), (Strings{"0.01", "1", "100", "10000"}));
  EXPECT_EQ(Labels(Axis(30, 42, true, 4)).front(), "30");
  EXPECT_NEAR(Axis(1, 100, true).Position(10), 0.5, 1e-12);
}

// Whatever the range: every value inside, ticks ascending, distinct and inside, two at least.
// Inside means to a millionth of the axis: what rounding takes from a multiple of a decimal step is
// less.
TEST(Axis, AnyRange) {
  for (const bool log : {false, true}) {
    for (const double low : {1e-9, 0.37, 1.0, 17.0, 123456.7, 3e12}) {
      for (const double ratio : {1.0, 1 + 1e-12, 1.0001, 1.3, 2.0, 9.0, 1e3, 1e9}) {
        const double high = low * ratio;
        const Axis axis(low, high, log);
        EXPECT_GE(axis.Position(low), -1e-6);
        EXPECT_LE(axis.Position(high), 1 + 1e-6);
        EXPECT_LT(axis.Position(axis.low()), 1e-9);
        ASSERT_GE(axis.ticks().size(), 2) << low << " " << ratio << " " << log;
        EXPECT_LE(axis.ticks().size(), 16) << low << " " << ratio << " " << log;
        for (size_t i = 1; i < axis.ticks().size(); ++i) {
          EXPECT_LT(axis.ticks()[i - 1].value, axis.ticks()[i].value);
          EXPECT_NE(axis.ticks()[i - 1].label, axis.ticks()[i].label) << low << " " << ratio;
        }
        EXPECT_GE(axis.Position(axis.ticks().front().value), -1e-6);
        EXPECT_LE(axis.Position(axis.ticks().back().value), 1 + 1e-6);
      }
    }
  }
}

struct Place {
  double x;
  double y;
};

std::vector<Place> Points(const std::string& html) {
  std::vector<Place> places;
  static const std::regex point(R"re(<g transform="translate\(([-0-9.]+) ([-0-9.]+)\)"><title>)re");
  for (auto it = std::sregex_iterator(html.begin(), html.end(), point);
       it != std::sregex_iterator(); ++it) {
    places.push_back({std::stod((*it)[1]), std::stod((*it)[2])});
  }
  return places;
}

// A tick's label → where it stands. y ticks are anchored at their end, 4.5 below their line.
double TickAt(const std::string& html, bool x, const std::string& label) {
  const std::regex tick(StrCat("<text class=\"", x ? "middle" : "end",
                               "\" x=\"([-0-9.]+)\" y=\"([-0-9.]+)\">", label, "</text>"));
  std::smatch m;
  EXPECT_TRUE(std::regex_search(html, m, tick)) << label;
  return x ? std::stod(m[1]) : std::stod(m[2]) - 4.5;
}

TEST(Plot, PointsLieWhereTheAxesSay) {
  const std::string html = PlotHtml(SomePlot());
  const double x0 = TickAt(html, true, "0");
  const double x_unit = (TickAt(html, true, "30") - x0) / 30;
  const double y1 = TickAt(html, false, "1.0");
  const double y_unit = TickAt(html, false, "2.0") - y1;
  EXPECT_GT(x_unit, 0);
  EXPECT_LT(y_unit, 0);  // upwards
  const std::vector<Place> points = Points(html);
  const std::vector<Place> values = {{0, 1}, {10, 3}, {20, 2.5}, {30, 4}};
  ASSERT_EQ(points.size(), values.size());
  for (size_t i = 0; i < points.size(); ++i) {
    EXPECT_NEAR(points[i].x, x0 + values[i].x * x_unit, 0.02) << i;
    EXPECT_NEAR(points[i].y, y1 + (values[i].y - 1) * y_unit, 0.04) << i;
  }
  const double base = y1 + y_unit;
  EXPECT_NE(html.find(StrCat(" ", Coordinate(base), "H")), std::string::npos);
}

// Each bar is "M x top h7m-3.5 0V bottom": y ± the error.
TEST(Plot, ErrorBarsAreTheStandardError) {
  const std::string html = PlotHtml(SomePlot());
  const double y1 = TickAt(html, false, "1.0");
  const double y_unit = TickAt(html, false, "2.0") - y1;
  static const std::regex bar(R"re(M[-0-9.]+ ([-0-9.]+)h7m-3.5 0V([-0-9.]+)m-3.5 0h7)re");
  std::vector<double> ends;
  for (auto it = std::sregex_iterator(html.begin(), html.end(), bar); it != std::sregex_iterator();
       ++it) {
    ends.push_back(std::stod((*it)[1]));
    ends.push_back(std::stod((*it)[2]));
  }
  ASSERT_EQ(ends.size(), 4);  // a point without an error has no bar
  const std::vector<double> values = {1.25, 0.75, 3, 2};
  for (size_t i = 0; i < ends.size(); ++i) {
    EXPECT_NEAR(ends[i], y1 + (values[i] - 1) * y_unit, 0.04) << i;
  }
}

// A share's axis ends at 0 and 1, and bars end there too.
TEST(Plot, KeepsToItsBounds) {
  ReportPlot plot = SomePlot();
  plot.series = {{"one", {{30, 0.1, 0.3}, {40, 0.9, 0.3}}}};
  plot.baseline.reset();
  plot.x_start = 0;
  plot.y_floor = 0;
  plot.y_ceiling = 1;
  const std::string html = PlotHtml(plot);
  const std::string floor = Coordinate(TickAt(html, false, "0.0"));
  const std::string ceiling = Coordinate(TickAt(html, false, "1.0"));
  EXPECT_NE(html.find("V" + floor + "m-3.5 0h7"), std::string::npos);
  EXPECT_NE(html.find(" " + ceiling + "h7m-3.5 0V"), std::string::npos);
  EXPECT_EQ(html.find(">1.2<"), std::string::npos);
  EXPECT_EQ(html.find(">-0.2<"), std::string::npos);
  TickAt(html, true, "0");
  plot.series = {{"one", {{30, 0}, {40, 0}}}};  // nothing right at all
  EXPECT_EQ(PlotHtml(plot).find(">-"), std::string::npos);
}

TEST(Plot, LeavesOutWhatIsNoNumber) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  ReportPlot plot = SomePlot();
  plot.series.push_back({"bad", {{kNan, 1}, {1, kInf}, {5, 2, kNan}}});
  std::string html = PlotHtml(plot);
  EXPECT_EQ(Points(html).size(), 5);
  EXPECT_NE(html.find("2 points are left out"), std::string::npos);
  EXPECT_EQ(html.find("nan"), std::string::npos);
  plot.log_x = true;  // now the point at 0 has no place either
  html = PlotHtml(plot);
  EXPECT_EQ(Points(html).size(), 4);
  EXPECT_NE(html.find("3 points are left out"), std::string::npos);
  plot.series = {{"none", {}}};
  EXPECT_NE(PlotHtml(plot).find("No points."), std::string::npos);
}

TEST(Plot, EverySeriesHasAMarkerAndAKey) {
  const std::string html = PlotHtml(SomePlot());
  EXPECT_EQ(Count(html, "<li>"), 3);  // two series and the baseline
  EXPECT_NE(html.find(">dense 2</li>"), std::string::npos);
}

TEST(Map, OneCellEachWhereTheyAreFew) {
  const ReportMap map{.title = "map", .values = {{0, 0.5, 1}, {0.25, -1, 0.75}}, .numbers = true};
  const std::string html = MapHtml(map);
  EXPECT_EQ(Count(html, "<title>"), 5);  // a negative value has no cell
  EXPECT_NE(html.find("fill-opacity=\"0.25\""), std::string::npos);
  EXPECT_EQ(Unbalanced(html), "");
}

// 288 rows of 400 cells: the area that the runs cover is that of the cells.
TEST(Map, ManyCellsAsRuns) {
  ReportMap map;
  map.values.assign(288, std::vector<double>(400, 0));
  for (size_t r = 0; r < 288; ++r) {
    for (size_t c = r; c < std::min<size_t>(r + 50, 400); ++c) map.values[r][c] = 1;
  }
  const std::string html = MapHtml(map);
  EXPECT_LT(html.size(), 100'000);
  static const std::regex run(R"re(M([-0-9.]+) [-0-9.]+H([-0-9.]+)v2H)re");
  double width = 0;
  for (auto it = std::sregex_iterator(html.begin(), html.end(), run); it != std::sregex_iterator();
       ++it) {
    width += std::stod((*it)[2]) - std::stod((*it)[1]);
  }
  const double left = 26;  // without labels
  EXPECT_NEAR(width / 288, 640 - left - 8, 0.05);
  EXPECT_EQ(Unbalanced(html), "");
}

TEST(Tokens, KeepTheTextAndItsLines) {
  Report report;
  report.sections = {{"",
                      {ReportTokens{"",
                                    {{"a\n", ReportFate::kKept, ""},
                                     {" b", ReportFate::kPruned, "site 1"},
                                     {"", ReportFate::kMerged, ""}}}}}};
  const std::string html = ToHtml(report);
  EXPECT_NE(html.find("<pre>a\n<del title=\"site 1\"> b</del></pre>"), std::string::npos);
  EXPECT_EQ(html.find("far</mark>"), std::string::npos);  // the legend names what occurs
}

}  // namespace
}  // namespace pith
