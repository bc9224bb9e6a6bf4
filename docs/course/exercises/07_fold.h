// Exercise of lesson 7: a batch norm in evaluation, folded into the linear layer before it. Fill the gap.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

struct Linear {
  std::vector<std::vector<double>> weight;  // [out][in]
  std::vector<double> bias;                 // [out]; empty: there is none

  std::vector<double> operator()(const std::vector<double>& x) const {
    std::vector<double> y = bias.empty() ? std::vector<double>(weight.size()) : bias;
    for (size_t o = 0; o < y.size(); ++o)
      for (size_t i = 0; i < x.size(); ++i) y[o] += weight[o][i] * x[i];
    return y;
  }
};

struct Norm {
  std::vector<double> gamma, beta, mean, var;  // [channels]; mean and var: the population
  double eps;

  std::vector<double> operator()(std::vector<double> x) const {
    for (size_t c = 0; c < x.size(); ++c) x[c] = gamma[c] * (x[c] - mean[c]) / std::sqrt(var[c] + eps) + beta[c];
    return x;
  }
};

// The linear layer that computes norm(linear(x)) for every x.
inline Linear fold(const Linear& linear, const Norm& norm) {
  Linear folded = linear;
  // GAP: new weights, and a bias in any case.
  (void)norm;
  return folded;
}
