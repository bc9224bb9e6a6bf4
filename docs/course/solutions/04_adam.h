// Solution of exercise 04_adam.
#pragma once

#include <cmath>
#include <vector>

struct AdamW {
  double lr = 0.001, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;
  std::vector<double> mean{}, square{};  // running averages of g and of g^2, zero at first
  int steps = 0;

  // One step.
  void step(std::vector<double>& parameters, const std::vector<double>& gradients) {
    mean.resize(parameters.size());
    square.resize(parameters.size());
    ++steps;
    const double of_mean = 1 - std::pow(beta1, steps), of_square = 1 - std::pow(beta2, steps);
    for (size_t i = 0; i < parameters.size(); ++i) {
      const double g = gradients[i];
      mean[i] += (1 - beta1) * (g - mean[i]);
      square[i] += (1 - beta2) * (g * g - square[i]);
      parameters[i] -= lr * weight_decay * parameters[i];
      parameters[i] -= lr * (mean[i] / of_mean) / (std::sqrt(square[i] / of_square) + eps);
    }
  }
};
