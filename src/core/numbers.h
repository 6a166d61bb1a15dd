// Numbers as people read them.
#ifndef PITH_CORE_NUMBERS_H_
#define PITH_CORE_NUMBERS_H_

#include <cstdint>
#include <string>

namespace pith {

// With so many digits after the point; "-" for what is no number. `sign`: a plus before what is not
// negative. Zero has no minus.
std::string Fixed(double value, int digits, bool sign = false);
std::string Percent(double share);   // "29.8 %"
std::string Grouped(int64_t value);  // "12,582,912"
// "0.4500 ± 0.0354"; "-" where there is no value.
std::string PlusMinus(double value, double error, int digits, bool sign = false);

// For tables that programs read. The shortest digits that read back to the same number; nothing for
// what is no number.
std::string ExactDigits(double value);
std::string CsvCell(const std::string& text);  // quoted by RFC 4180: texts may hold commas

}  // namespace pith

#endif  // PITH_CORE_NUMBERS_H_
