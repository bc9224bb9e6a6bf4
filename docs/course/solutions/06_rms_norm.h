// Solution of exercise 06_rms_norm.
#pragma once

#include <cmath>
#include <vector>

// Each row of x [R, C] by itself: y = gamma x / sqrt(mean of x^2 in the row + eps).
struct RmsNorm {
  std::vector<double> gamma;     // [C]
  std::vector<double> dgamma{};  // [C], of backward
  double eps = 1e-5;
  std::vector<double> xhat{}, rstd{};  // what backward needs of forward

  std::vector<double> forward(const std::vector<double>& x) {
    const size_t channels = gamma.size(), rows = x.size() / channels;
    std::vector<double> y(x.size());
    xhat.resize(x.size());
    rstd.resize(rows);
    for (size_t r = 0; r < rows; ++r) {
      double square = 0;
      for (size_t c = 0; c < channels; ++c) square += x[r * channels + c] * x[r * channels + c] / double(channels);
      rstd[r] = 1 / std::sqrt(square + eps);
      for (size_t c = 0; c < channels; ++c) {
        const size_t i = r * channels + c;
        xhat[i] = x[i] * rstd[r];
        y[i] = gamma[c] * xhat[i];
      }
    }
    return y;
  }

  std::vector<double> backward(const std::vector<double>& dy) {
    dgamma.assign(gamma.size(), 0);
    std::vector<double> dx(dy.size());
    const size_t channels = gamma.size();
    for (size_t r = 0; r < rstd.size(); ++r) {
      double mean_gx = 0;
      for (size_t c = 0; c < channels; ++c) {
        const size_t i = r * channels + c;
        dgamma[c] += dy[i] * xhat[i];
        mean_gx += gamma[c] * dy[i] * xhat[i] / double(channels);
      }
      for (size_t c = 0; c < channels; ++c) {
        const size_t i = r * channels + c;
        dx[i] = rstd[r] * (gamma[c] * dy[i] - xhat[i] * mean_gx);
      }
    }
    return dx;
  }
};
