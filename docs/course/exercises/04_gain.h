// Exercise of lesson 4: with what deviation should the weights of a layer begin?
#pragma once

#include <cmath>
#include <functional>

// The standard deviation of weights such that h' = f(W h), with `fan_in` elements in h, is in mean square as large as
// h. GAP: this is right where f(z) = z. Let z be normal with mean 0 and variance 1, and find the mean m of f(z)^2, by
// adding up f(z)^2 exp(-z^2 / 2) / sqrt(2 pi) dz for z from -8 to 8 in small steps. If the elements of W h had variance
// 1, then those of h' would have mean square m. What variance have they if h has mean square m, and what has to be
// done?
inline double weight_deviation(const std::function<double(double)>& f, int fan_in) {
  (void)f;
  return 1 / std::sqrt(fan_in);
}
