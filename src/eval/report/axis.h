// Axes with ticks that people can read: 1, 2 or 5 times a power of ten.
#ifndef PITH_EVAL_REPORT_AXIS_H_
#define PITH_EVAL_REPORT_AXIS_H_

#include <string>
#include <vector>

namespace pith {

struct AxisTick {
  double value = 0;
  std::string label;
};

class Axis {
 public:
  // Covers [low, high], both finite and, on a logarithmic axis, positive. A linear axis ends at
  // ticks; a logarithmic one a little beyond the values. Equal ends are widened. At least two ticks
  // and about `ticks` of them.
  Axis(double low, double high, bool log, int ticks = 6);

  double low() const { return low_; }
  double high() const { return high_; }
  const std::vector<AxisTick>& ticks() const { return ticks_; }

  // 0 at the low end, 1 at the high end.
  double Position(double value) const;

 private:
  void MakeLinear(int ticks);
  void MakeLog(int ticks);

  double low_;
  double high_;
  bool log_;
  std::vector<AxisTick> ticks_;
};

}  // namespace pith

#endif  // PITH_EVAL_REPORT_AXIS_H_
