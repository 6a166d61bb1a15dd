#include "eval/report/axis.h"

#include <charconv>
#include <cmath>

#include "core/error.h"
#include "eval/report/markup.h"

namespace pith {
namespace {

// The 1, 2 or 5 times a power of ten that cuts `span` into about `ticks` steps.
double NiceStep(double span, int ticks) {
  const double rough = span / ticks;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double lead = rough / power;
  if (lead < 1.5) return power;
  if (lead < 3.5) return 2 * power;
  if (lead < 7.5) return 5 * power;
  return 10 * power;
}

// As many digits after the point as tell neighbours `step` apart.
std::string Label(double value, double step) {
  const double size = std::max(std::abs(value), step);
  if (size >= 1e6 || step < 1e-5) return Significant(value, 6);
  const int after = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value + 0.0, std::chars_format::fixed, after);
  return std::string(buffer, end.ptr);
}

// Multiples of `step` in [low, high]; index arithmetic, so that no error adds up.
std::vector<AxisTick> Multiples(double low, double high, double step) {
  std::vector<AxisTick> ticks;
  const double first = std::ceil(low / step - 1e-6);
  const double last = std::floor(high / step + 1e-6);
  for (double i = first; i <= last; ++i) {
    const double value = i == 0 ? 0 : i * step;
    ticks.push_back({value, Label(value, step)});
  }
  return ticks;
}

}  // namespace

Axis::Axis(double low, double high, bool log, int ticks) : low_(low), high_(high), log_(log) {
  PITH_CHECK(std::isfinite(low) && std::isfinite(high) && low <= high && (!log || low > 0));
  log ? MakeLog(ticks) : MakeLinear(ticks);
}

void Axis::MakeLinear(int ticks) {
  // Spans beneath the spacing of doubles would give steps that change nothing.
  const double size = std::max(std::abs(low_), std::abs(high_));
  if (high_ - low_ <= 1e-9 * size || high_ == low_) {
    const double pad = size > 0 ? 0.1 * size : 1;
    low_ -= pad;
    high_ += pad;
  }
  const double step = NiceStep(high_ - low_, ticks);
  low_ = std::floor(low_ / step + 1e-6) * step;
  high_ = std::ceil(high_ / step - 1e-6) * step;
  ticks_ = Multiples(low_, high_, step);
}

void Axis::MakeLog(int ticks) {
  const double pad = std::max(std::pow(high_ / low_, 0.03), 1.02);
  low_ /= pad;
  high_ *= pad;
  const double decades = std::log10(high_ / low_);
  if (decades < 1) {  // too few powers and their multiples: even steps, unevenly placed
    ticks_ = Multiples(low_, high_, NiceStep(high_ - low_, ticks));
    return;
  }
  const double every = std::max(1.0, std::ceil(decades / ticks));
  const bool between = 3 * decades <= ticks + 3;  // 2 and 5 times a power as well
  for (double e = std::floor(std::log10(low_)); e <= std::ceil(std::log10(high_)); ++e) {
    if (std::fmod(e, every) != 0) continue;
    for (const double lead : {1.0, 2.0, 5.0}) {
      const double value = lead * std::pow(10, e);
      if (value < low_ || value > high_ || (lead > 1 && !between)) continue;
      ticks_.push_back({value, Significant(value, 3)});
    }
  }
}

double Axis::Position(double value) const {
  if (log_) return std::log(value / low_) / std::log(high_ / low_);
  return (value - low_) / (high_ - low_);
}

}  // namespace pith
