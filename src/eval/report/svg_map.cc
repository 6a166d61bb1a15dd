// A map of shares as inline SVG. Few cells: one rectangle each, with a tooltip. Many: one path a
// shade, of the runs of equal cells, so that a map of ten thousand stays some tens of kilobytes.
#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "eval/report/markup.h"

namespace pith {
namespace {

constexpr double kWidth = 640;
constexpr double kTop = 4;
constexpr double kLetter = 6.6;
constexpr size_t kFewCells = 800;
constexpr int kShades = 20;  // a step of .05 is what the eye tells apart

class Map {
 public:
  explicit Map(const ReportMap& map) : map_(map), rows_(map.values.size()) {
    for (const auto& row : map.values) columns_ = std::max(columns_, row.size());
    size_t longest = 0;
    for (const auto& label : map.row_labels) longest = std::max(longest, label.size());
    left_ = 26 + kLetter * static_cast<double>(longest);
    if (columns_ == 0) return;
    cell_ = (kWidth - left_ - 8) / static_cast<double>(columns_);
    tall_ = std::clamp(420.0 / static_cast<double>(rows_), 2.0, 24.0);
    height_ = kTop + tall_ * static_cast<double>(rows_) + 44;
  }

  std::string Html() const {
    std::string out = "<figure>\n" + TitleHtml(map_.title);
    if (columns_ == 0)
      return StrCat(out, NoteHtml("No cells."), NoteHtml(map_.note), "</figure>\n");
    return StrCat(out, "<div class=\"scroll\"><svg class=\"map\" viewBox=\"0 0 ", kWidth, " ",
                  Coordinate(height_), "\" role=\"img\" aria-label=\"",
                  EscapeHtml(StrCat(map_.title, ": ", map_.row_title, " by ", map_.column_title)),
                  "\">\n", rows_ * columns_ <= kFewCells ? Cells() : Runs(), Labels(),
                  "</svg></div>\n", Scale(), NoteHtml(map_.note), "</figure>\n");
  }

 private:
  double X(size_t column) const { return left_ + cell_ * static_cast<double>(column); }
  double Y(size_t row) const { return kTop + tall_ * static_cast<double>(row); }

  // −1: no cell.
  static int Shade(double value) {
    if (!(value >= 0)) return -1;
    return static_cast<int>(std::lround(std::min(value, 1.0) * kShades));
  }

  static std::string At(const std::vector<std::string>& labels, size_t i) {
    return i < labels.size() ? labels[i] : "";
  }

  static std::string Share(double value) {
    const auto hundredths = std::lround(100 * std::min(value, 1.0));
    return StrCat(hundredths / 100, ".", hundredths / 10 % 10, hundredths % 10);
  }

  static std::string Opacity(int shade) { return Coordinate(static_cast<double>(shade) / kShades); }

  std::string Cells() const {
    std::string out;
    for (size_t r = 0; r < rows_; ++r) {
      for (size_t c = 0; c < map_.values[r].size(); ++c) out += Cell(r, c);
    }
    return out;
  }

  std::string Cell(size_t r, size_t c) const {
    const double value = map_.values[r][c];
    if (Shade(value) < 0) return "";
    const double gap = std::min(1.0, 0.1 * std::min(cell_, tall_));
    const std::string place =
        StrCat("x=\"", Coordinate(X(c)), "\" y=\"", Coordinate(Y(r)), "\" width=\"",
               Coordinate(cell_ - gap), "\" height=\"", Coordinate(tall_ - gap), "\"");
    const std::string share = Share(value);
    std::string out =
        StrCat("<g><title>", EscapeHtml(Tip(r, c)), share, "</title><rect class=\"none\" ", place,
               "/><rect class=\"cell\" fill-opacity=\"", Coordinate(std::min(value, 1.0)), "\" ",
               place, "/>");
    if (map_.numbers) {
      out += StrCat("<text class=\"middle", value > 0.65 ? " on" : "", "\" x=\"",
                    Coordinate(X(c) + cell_ / 2), "\" y=\"", Coordinate(Y(r) + tall_ / 2 + 4),
                    "\">", share, "</text>");
    }
    return out + "</g>\n";
  }

  std::string Tip(size_t r, size_t c) const {
    const std::string row = At(map_.row_labels, r);
    const std::string column = At(map_.column_labels, c);
    return StrCat(row, row.empty() || column.empty() ? "" : ", ", column,
                  row.empty() && column.empty() ? "" : ": ");
  }

  // Whole cells without gaps; the lowest shade is drawn as an empty cell.
  std::string Runs() const {
    std::array<std::string, kShades + 1> paths;
    for (size_t r = 0; r < rows_; ++r) {
      const std::vector<double>& row = map_.values[r];
      for (size_t c = 0; c < row.size();) {
        size_t end = c + 1;
        while (end < row.size() && Shade(row[end]) == Shade(row[c])) ++end;
        if (const int shade = Shade(row[c]); shade >= 0) {
          paths[shade] +=
              StrCat("M", Coordinate(X(c)), " ", Coordinate(Y(r)), "H", Coordinate(X(end)), "v",
                     Coordinate(tall_), "H", Coordinate(X(c)), "z");
        }
        c = end;
      }
    }
    std::string out;
    for (int shade = 0; shade <= kShades; ++shade) {
      if (paths[shade].empty()) continue;
      out += StrCat("<path class=\"", shade == 0 ? "none" : "cell", "\" fill-opacity=\"",
                    shade == 0 ? "1" : Opacity(shade), "\" d=\"", paths[shade], "\"/>\n");
    }
    return out;
  }

  // A label needs room: those that would touch the one before are left out.
  std::string Labels() const {
    std::string out;
    double free = -1e9;
    for (size_t r = 0; r < rows_; ++r) {
      const double y = Y(r) + tall_ / 2;
      if (At(map_.row_labels, r).empty() || y < free) continue;
      free = y + 13;
      out += StrCat("<text class=\"end\" x=\"", Coordinate(left_ - 6), "\" y=\"", Coordinate(y + 4),
                    "\">", EscapeHtml(map_.row_labels[r]), "</text>\n");
    }
    const double below = Y(rows_);
    free = -1e9;
    for (size_t c = 0; c < columns_; ++c) {
      const std::string label = At(map_.column_labels, c);
      const double x = X(c) + cell_ / 2;
      const double half = kLetter * static_cast<double>(label.size()) / 2;
      if (label.empty() || x - half < free) continue;
      free = x + half + 6;
      out += StrCat("<text class=\"middle\" x=\"", Coordinate(x), "\" y=\"", Coordinate(below + 16),
                    "\">", EscapeHtml(label), "</text>\n");
    }
    return StrCat(out, "<text class=\"middle\" x=\"", Coordinate((left_ + kWidth - 8) / 2),
                  "\" y=\"", Coordinate(below + 36), "\">", EscapeHtml(map_.column_title),
                  "</text>\n<text class=\"middle\" transform=\"translate(12 ",
                  Coordinate((kTop + below) / 2), ") rotate(-90)\">", EscapeHtml(map_.row_title),
                  "</text>\n");
  }

  static std::string Scale() {
    std::string steps;
    for (int i = 0; i <= 5; ++i) {
      steps += StrCat("<rect class=\"none\" x=\"", 20 * i, "\" width=\"20\" height=\"12\"/>",
                      "<rect class=\"cell\" x=\"", 20 * i, "\" width=\"20\" height=\"12\" ",
                      "fill-opacity=\"", Coordinate(0.2 * i), "\"/>");
    }
    return StrCat("<p class=\"scale\">0 <svg viewBox=\"0 0 120 12\" aria-hidden=\"true\">", steps,
                  "</svg> 1</p>\n");
  }

  const ReportMap& map_;
  size_t rows_;
  size_t columns_ = 0;
  double left_ = 0;
  double cell_ = 0;
  double tall_ = 0;
  double height_ = 0;
};

}  // namespace

std::string MapHtml(const ReportMap& map) { return Map(map).Html(); }

}  // namespace pith
