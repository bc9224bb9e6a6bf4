#include "norma/nn/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace norma::nn {

void check_rate(std::string_view name, double lr, int64_t step, int64_t steps) {
  check(std::isfinite(lr) && lr >= 0, name, "a learning rate of {}: want a number of at least 0", lr);
  check(step >= 0, name, "step {}: steps count from 0", step);
  check(steps >= 1, name, "{} steps: want at least 1", steps);
}

// `from` at part = 0, `to` at part = 1, with a slope of 0 at both. The sum has one rounding on every processor, those
// with such an operation or not.
static double cosine(double from, double to, double part) {
  return part > 0 ? std::fma((from - to) / 2, 1 + std::cos(std::numbers::pi * part), to) : from;
}

double StepLR::operator()(int64_t step) const {
  check_rate("StepLR", lr, step, step_size);
  check(std::isfinite(gamma) && gamma >= 0, "StepLR", "a gamma of {}: want a number of at least 0", gamma);
  const double now = lr * std::pow(gamma, step / step_size);
  check_rate("StepLR", now, step, step_size);
  return now;
}

double CosineLR::operator()(int64_t step) const {
  check_rate("CosineLR", lr, step, steps);
  check_rate("CosineLR", min_lr, step, steps);
  return cosine(lr, min_lr, std::min(1.0, static_cast<double>(step) / static_cast<double>(steps)));
}

double OneCycleLR::operator()(int64_t step) const {
  check_rate("OneCycleLR", max_lr, step, steps);
  check(up > 0 && up < 1, "OneCycleLR", "up = {}: the rising part is in (0, 1)", up);
  check(start_div > 0 && final_div > 0, "OneCycleLR", "start_div = {}, final_div = {}: want positive numbers",
        start_div, final_div);
  const double first = max_lr / start_div, end = first / final_div;
  check_rate("OneCycleLR", first, step, steps);
  check_rate("OneCycleLR", end, step, steps);
  const auto last = static_cast<double>(steps - 1), at = static_cast<double>(std::min(step, steps - 1));
  // The top, in steps, may lie between two of them, or before step 0. Where it was to be at one, it is: else the last
  // bit of `up`, or a processor that takes off the 1 before it rounds, might say on which side of it step 0 is.
  // (volatile: so that the product is rounded here, on every processor.)
  const volatile double product = up * static_cast<double>(steps);
  const double rising = product, whole = std::round(rising);
  const double top = (std::abs(rising - whole) <= 1e-15 * whole ? whole : rising) - 1;
  if (at < top) return cosine(first, max_lr, at / top);
  return top < last ? cosine(max_lr, end, (at - top) / (last - top)) : max_lr;
}

}  // namespace norma::nn
