#include "norma/nn/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace norma::nn {

static void check_rate(const char* name, double lr, int64_t step, int64_t steps) {
  check(std::isfinite(lr) && lr >= 0, name, "a learning rate of {}: want a number of at least 0", lr);
  check(step >= 0, name, "step {}: steps count from 0", step);
  check(steps >= 1, name, "{} steps: want at least 1", steps);
}

// `from` at part = 0, `to` at part = 1, with a slope of 0 at both.
static double cosine(double from, double to, double part) {
  return to + (from - to) / 2 * (1 + std::cos(std::numbers::pi * part));
}

double StepLR::operator()(int64_t step) const {
  check_rate("StepLR", lr, step, step_size);
  check(std::isfinite(gamma) && gamma >= 0, "StepLR", "a gamma of {}: want a number of at least 0", gamma);
  return lr * std::pow(gamma, step / step_size);
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
  const double first = max_lr / start_div, last = static_cast<double>(steps - 1), at = static_cast<double>(step);
  const double top = up * static_cast<double>(steps) - 1;  // in steps; may lie between two of them, or before step 0
  if (at < top) return cosine(first, max_lr, at / top);
  return cosine(max_lr, first / final_div, std::min(1.0, (at - top) / (last - top)));
}

}  // namespace norma::nn
