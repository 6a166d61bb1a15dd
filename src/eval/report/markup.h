// Pieces that the page, its plots and its maps share.
#ifndef PITH_EVAL_REPORT_MARKUP_H_
#define PITH_EVAL_REPORT_MARKUP_H_

#include <string>
#include <string_view>

#include "eval/report/report.h"

namespace pith {

// Text for an element or a quoted attribute.
std::string EscapeHtml(std::string_view text);

// A coordinate: two digits after the point at most, whatever the locale.
std::string Coordinate(double value);
// A value for people: `digits` significant ones.
std::string Significant(double value, int digits = 4);

std::string_view PageStyle();

// Figures: <figure> with its title, drawing, legend and note.
std::string PlotHtml(const ReportPlot& plot);
std::string MapHtml(const ReportMap& map);

// "<figcaption>…" for a title and "<p class="note">…" for a note; empty where the text is.
std::string TitleHtml(std::string_view title);
std::string NoteHtml(std::string_view note);

}  // namespace pith

#endif  // PITH_EVAL_REPORT_MARKUP_H_
