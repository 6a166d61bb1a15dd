// A plot as inline SVG. Series differ in colour and in marker; the legend stands below, outside the
// data, and breaks its lines with the page.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "core/error.h"
#include "eval/report/axis.h"
#include "eval/report/markup.h"

namespace pith {
namespace {

constexpr double kWidth = 640;
constexpr double kHeight = 380;
constexpr double kTop = 12;
constexpr double kRight = 18;
constexpr double kBottom = 52;
constexpr double kLetter = 7.2;  // mean width of a character of the axes' text
constexpr int kColours = 8;      // .c0 … .c7 of the style

// Around the origin, of about the same area.
constexpr std::array<std::string_view, 7> kMarkers = {
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "M-4 -4h8v8h-8z",
    "M0 -5.4L5.2 4H-5.2z",
    "M0 -5.8L5.8 0L0 5.8L-5.8 0z",
    "M0 5.4L5.2 -4H-5.2z",
    "M-1.6 -5.2h3.2v3.6h3.6v3.2h-3.6v3.6h-3.2v-3.6h-3.6v-3.2h3.6z",
    "M0 -5.8L5.5 -1.8L3.4 4.7H-3.4L-5.5 -1.8z"};

std::string Marker(size_t series) {
  return StrCat("<path class=\"mark\" d=\"", kMarkers[series % kMarkers.size()], "\"/>");
}

// Beyond 1e±100, differences and ratios could overflow.
bool Drawable(double value, bool log) {
  return std::abs(value) < 1e100 && (!log || value > 1e-100);
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

double ErrorOf(const ReportPoint& point) { return Drawable(point.error, false) ? point.error : 0; }

class Plot {
 public:
  explicit Plot(const ReportPlot& plot) : plot_(plot) {
    Range x;
    Range y;
    for (const ReportSeries& series : plot.series) {
      for (const ReportPoint& point : series.points) Count(point, x, y);
    }
    if (x.low > x.high) return;
    if (HasBaseline()) y.Add(*plot.baseline);
    if (plot.x_start && Drawable(*plot.x_start, plot.log_x)) x.Add(*plot.x_start);
    Bound(y);
    x_.emplace(x.low, x.high, plot.log_x);
    y_.emplace(y.low, y.high, plot.log_y);
    size_t longest = 0;
    for (const AxisTick& tick : y_->ticks()) longest = std::max(longest, tick.label.size());
    left_ = 34 + kLetter * static_cast<double>(longest);
  }

  std::string Html() const {
    std::string out = "<figure>\n" + TitleHtml(plot_.title);
    if (x_) {
      out +=
          StrCat("<div class=\"scroll\"><svg class=\"plot\" viewBox=\"0 0 ", kWidth, " ", kHeight,
                 "\" role=\"img\" aria-label=\"", EscapeHtml(Label()), "\">\n", Axes(), Baseline());
      for (size_t s = 0; s < plot_.series.size(); ++s) out += Series(s);
      out += StrCat("</svg></div>\n", Legend());
    }
    std::string note = plot_.note;
    if (left_out_ > 0) {
      note +=
          StrCat(note.empty() ? "" : " ", left_out_, left_out_ == 1 ? " point is" : " points are",
                 " left out: not a number, infinite, or not positive on a logarithmic axis.");
    } else if (!x_) {
      note += StrCat(note.empty() ? "" : " ", "No points.");
    }
    return StrCat(out, NoteHtml(note), "</figure>\n");
  }

 private:
  bool Shown(const ReportPoint& point) const {
    return Drawable(point.x, plot_.log_x) && Drawable(point.y, plot_.log_y);
  }

  bool HasBaseline() const { return plot_.baseline && Drawable(*plot_.baseline, plot_.log_y); }

  void Count(const ReportPoint& point, Range& x, Range& y) {
    if (!Shown(point)) {
      ++left_out_;
      return;
    }
    x.Add(point.x);
    y.Add(point.y);
    for (const double end : {point.y - ErrorOf(point), point.y + ErrorOf(point)}) {
      if (Drawable(end, plot_.log_y)) y.Add(end);
    }
  }

  // A share's axis ends at 0 or 1 whatever the bars say.
  void Bound(Range& y) const {
    if (plot_.y_floor) y.low = std::max(y.low, std::min(*plot_.y_floor, y.high));
    if (plot_.y_ceiling) y.high = std::min(y.high, std::max(*plot_.y_ceiling, y.low));
    if (y.low == y.high && plot_.y_floor == y.low) y.high = plot_.y_ceiling.value_or(y.low + 1);
    if (y.low == y.high && plot_.y_ceiling == y.high) y.low = plot_.y_floor.value_or(y.high - 1);
  }

  double X(double value) const { return left_ + x_->Position(value) * (kWidth - left_ - kRight); }
  double Y(double value) const { return kHeight - kBottom - y_->Position(value) * Tall(); }
  static double Tall() { return kHeight - kTop - kBottom; }

  std::string Label() const {
    return StrCat(plot_.title, plot_.title.empty() ? "" : ": ", plot_.y_label, " against ",
                  plot_.x_label);
  }

  std::string Axes() const {
    const double bottom = kHeight - kBottom;
    std::string grid;
    std::string text;
    for (const AxisTick& tick : y_->ticks()) {
      const std::string y = Coordinate(Y(tick.value));
      grid += StrCat("M", Coordinate(left_), " ", y, "H", kWidth - kRight);
      text += StrCat("<text class=\"end\" x=\"", Coordinate(left_ - 8), "\" y=\"",
                     Coordinate(Y(tick.value) + 4.5), "\">", EscapeHtml(tick.label), "</text>\n");
    }
    for (const AxisTick& tick : x_->ticks()) {
      const std::string x = Coordinate(X(tick.value));
      grid += StrCat("M", x, " ", kTop, "V", bottom);
      text += StrCat("<text class=\"middle\" x=\"", x, "\" y=\"", bottom + 19, "\">",
                     EscapeHtml(tick.label), "</text>\n");
    }
    const double middle = (left_ + kWidth - kRight) / 2;
    return StrCat(
        "<path class=\"grid\" d=\"", grid, "\"/>\n<path class=\"axis\" d=\"M", Coordinate(left_),
        " ", kTop, "V", bottom, "H", kWidth - kRight, "\"/>\n", text, "<text class=\"middle\" x=\"",
        Coordinate(middle), "\" y=\"", kHeight - 10, "\">", EscapeHtml(plot_.x_label),
        "</text>\n<text class=\"middle\" transform=\"translate(15 ", Coordinate(kTop + Tall() / 2),
        ") rotate(-90)\">", EscapeHtml(plot_.y_label), "</text>\n");
  }

  std::string Baseline() const {
    if (!HasBaseline()) return "";
    return StrCat("<path class=\"base\" d=\"M", Coordinate(left_), " ",
                  Coordinate(Y(*plot_.baseline)), "H", kWidth - kRight, "\"/>\n");
  }

  std::string Point(size_t s, const ReportPoint& point) const {
    const ReportSeries& series = plot_.series[s];
    const double error = ErrorOf(point);
    std::string tip = series.name;
    if (!point.label.empty() && point.label != series.name) tip += ", " + point.label;
    tip += StrCat(": ", Significant(point.x), ", ", Significant(point.y));
    if (error > 0) tip += " ± " + Significant(error, 2);
    return StrCat("<g transform=\"translate(", Coordinate(X(point.x)), " ", Coordinate(Y(point.y)),
                  ")\"><title>", EscapeHtml(tip), "</title>", Marker(s), "</g>\n");
  }

  // From top to bottom with caps, inside the plot.
  std::string ErrorBar(const ReportPoint& point) const {
    const double error = ErrorOf(point);
    if (error <= 0) return "";
    const double low = std::max(point.y - error, y_->low());
    const double high = std::min(point.y + error, y_->high());
    return StrCat("M", Coordinate(X(point.x) - 3.5), " ", Coordinate(Y(high)), "h7m-3.5 0V",
                  Coordinate(Y(low)), "m-3.5 0h7");
  }

  std::string Series(size_t s) const {
    std::string line;
    std::string bars;
    std::string points;
    for (const ReportPoint& point : plot_.series[s].points) {
      if (!Shown(point)) continue;
      line += StrCat(line.empty() ? "M" : "L", Coordinate(X(point.x)), " ", Coordinate(Y(point.y)));
      bars += ErrorBar(point);
      points += Point(s, point);
    }
    std::string out = StrCat("<g class=\"c", s % kColours, "\">\n");
    if (plot_.joined && line.find('L') != std::string::npos) {
      out += StrCat("<path class=\"line\" d=\"", line, "\"/>\n");
    }
    if (!bars.empty()) out += StrCat("<path class=\"bar\" d=\"", bars, "\"/>\n");
    return StrCat(out, points, "</g>\n");
  }

  static std::string Key(std::string_view drawing, std::string_view name) {
    return StrCat("<li><svg viewBox=\"-14 -8 28 16\" aria-hidden=\"true\">", drawing, "</svg>",
                  EscapeHtml(name), "</li>\n");
  }

  std::string Legend() const {
    std::string keys;
    for (size_t s = 0; s < plot_.series.size(); ++s) {
      const bool line = plot_.joined && plot_.series[s].points.size() > 1;
      keys += Key(StrCat("<g class=\"c", s % kColours, "\">",
                         line ? "<path class=\"line\" d=\"M-14 0H14\"/>" : "", Marker(s), "</g>"),
                  plot_.series[s].name);
    }
    if (HasBaseline()) {
      keys += Key("<path class=\"base\" d=\"M-14 0H14\"/>",
                  StrCat(plot_.baseline_name, " ", Significant(*plot_.baseline)));
    }
    return StrCat("<ul class=\"legend\">\n", keys, "</ul>\n");
  }

  const ReportPlot& plot_;
  std::optional<Axis> x_;
  std::optional<Axis> y_;
  double left_ = 60;
  int64_t left_out_ = 0;
};

}  // namespace

std::string PlotHtml(const ReportPlot& plot) { return Plot(plot).Html(); }

}  // namespace pith
