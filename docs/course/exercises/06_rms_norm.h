// Exercise of lesson 6: RMS norm, which does not subtract the mean.
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
    // GAP: go through the derivation of the lesson with mu = 0. Which term is left out? Fill dgamma and dx.
    return dx;
  }
};
