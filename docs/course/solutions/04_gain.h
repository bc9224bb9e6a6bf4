// Solution of exercise 04_gain.
#pragma once

#include <cmath>
#include <functional>

// The standard deviation of weights such that the elements of W h have variance 1, layer after layer, where h = f(z) of
// such elements z: fan_in m deviation^2 = 1, with m the mean of f(z)^2. h then has mean square m in each layer.
inline double weight_deviation(const std::function<double(double)>& f, int fan_in) {
  const double step = 1e-3;
  double m = 0;
  for (double z = -8; z < 8; z += step) m += f(z) * f(z) * std::exp(-z * z / 2) / std::sqrt(2 * M_PI) * step;
  return 1 / std::sqrt(fan_in * m);
}
