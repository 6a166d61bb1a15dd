// A report as one page of HTML that needs nothing else: no script, no font, no file, no network.
#ifndef PITH_EVAL_REPORT_HTML_H_
#define PITH_EVAL_REPORT_HTML_H_

#include <string>

#include "eval/report/report.h"

namespace pith {

// Well-formed as XML too. The same report gives the same bytes. Bytes that are not UTF-8 and
// characters that XML has no place for become U+FFFD; points that are not finite, or not positive
// on a logarithmic axis, are left out and counted in the plot's note.
std::string ToHtml(const Report& report);

}  // namespace pith

#endif  // PITH_EVAL_REPORT_HTML_H_
