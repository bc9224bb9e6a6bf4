// Exercise of lesson 4: AdamW, that is Adam with a decay of the weights that does not go through the gradient.
#pragma once

#include <cmath>
#include <vector>

struct AdamW {
  double lr = 0.001, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;
  std::vector<double> mean{}, square{};  // running averages of g and of g^2, zero at first
  int steps = 0;

  // One step. GAP: count it; let the averages follow g; divide each by 1 - beta^steps, which makes up for their start
  // at zero; first take p -= lr weight_decay p, then p -= lr mean / (sqrt(square) + eps), with the corrected averages.
  void step(std::vector<double>& parameters, const std::vector<double>& gradients) {
    mean.resize(parameters.size());
    square.resize(parameters.size());
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i] -= lr * gradients[i];  // plain descent, for now
  }
};
