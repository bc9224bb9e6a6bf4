// Solution of exercise 10_fuse.
#pragma once

#include <cmath>

#include "10_cache.h"

// y = max((x - mean) / sqrt(var + eps) + residual, 0); x, residual, y [rows, channels], mean and variance of each
// channel, in double and by deviations from a shift: the channel's first element.
inline void norm_add_relu(const Array& x, const Array& residual, Array& y, size_t rows, size_t channels, double eps) {
  std::vector<double> shift(channels), sum(channels), square(channels);
  const auto n = static_cast<double>(rows);
  for (size_t i = 0; i < rows * channels; ++i) {
    const size_t c = i % channels;
    const double v = x.get(i);
    if (i < channels) shift[c] = v;
    const double d = v - shift[c];
    sum[c] += d;
    square[c] += d * d;
  }
  std::vector<double> mean(channels), rstd(channels);
  for (size_t c = 0; c < channels; ++c) {
    mean[c] = shift[c] + sum[c] / n;
    rstd[c] = 1 / std::sqrt((square[c] - sum[c] * sum[c] / n) / n + eps);
  }
  for (size_t i = 0; i < rows * channels; ++i) {
    const size_t c = i % channels;
    y.set(i, static_cast<float>(std::max((x.get(i) - mean[c]) * rstd[c] + residual.get(i), 0.)));
  }
}
