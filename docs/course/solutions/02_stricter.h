// Solution of exercise 02_stricter.
#pragma once

#include "02_check.h"

// The derivative of sum(f(inputs) * upstream) by element i of input k, by central differences.
inline double differences(const Op& f, const std::vector<Tensor>& inputs, const Tensor& upstream, int k, int i) {
  double& x = inputs[k].value(i);
  const double before = x, h = 1e-5;
  x = before + h;
  const double above = sum(f(inputs) * upstream).value(0);
  x = before - h;
  const double below = sum(f(inputs) * upstream).value(0);
  x = before;
  return (above - below) / (2 * h);
}

inline bool close(double rule, double numeric) { return std::abs(rule - numeric) <= 1e-8 + 1e-6 * std::abs(numeric); }

// One sweep in which those inputs want a gradient for which wanted[k] is true. Their gradients begin with `start`, to
// which the sweep has to add.
inline bool sweep_is_right(const Op& f, const std::vector<Tensor>& inputs, const Tensor& upstream,
                           const std::vector<bool>& wanted, double start) {
  for (size_t k = 0; k < inputs.size(); ++k) inputs[k].body->grad.assign(wanted[k] ? inputs[k].size() : 0, start);
  {
    Tape tape;
    tape.backward(sum(f(inputs) * upstream));
  }
  for (size_t k = 0; k < inputs.size(); ++k)
    for (int i = 0; wanted[k] && i < inputs[k].size(); ++i)
      if (!close(inputs[k].grad(i) - start, differences(f, inputs, upstream, static_cast<int>(k), i))) return false;
  return true;
}

// Whether the rules of f are right.
inline bool passes(const Op& f, const std::vector<Tensor>& inputs, const Tensor& upstream) {
  const std::vector<bool> all(inputs.size(), true);
  if (!sweep_is_right(f, inputs, upstream, all, 0) || !sweep_is_right(f, inputs, upstream, all, 0.5)) return false;
  for (size_t k = 0; k < inputs.size(); ++k) {
    std::vector<bool> only(inputs.size(), false);
    only[k] = true;
    if (!sweep_is_right(f, inputs, upstream, only, 0)) return false;
  }
  return true;
}
