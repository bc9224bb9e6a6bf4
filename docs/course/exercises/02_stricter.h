// Exercise of lesson 2: a gradient check that sees two mistakes more than check_gradient of 02_check.h does.
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

// Whether the rules of f are right. As it stands, this is check_gradient once more.
// GAP: refuse, too,
//   1. a rule that assigns where it should add. Begin once more, with gradients that are not zero before the sweep;
//   2. a rule that is wrong where not all inputs want a gradient. Let each input be once the only one that does
//      (inputs[k].body->grad.clear() makes an input want none).
inline bool passes(const Op& f, const std::vector<Tensor>& inputs, const Tensor& upstream) {
  for (const Tensor& input : inputs) input.want_grad();
  {
    Tape tape;
    tape.backward(sum(f(inputs) * upstream));
  }
  for (size_t k = 0; k < inputs.size(); ++k)
    for (int i = 0; i < inputs[k].size(); ++i)
      if (!close(inputs[k].grad(i), differences(f, inputs, upstream, static_cast<int>(k), i))) return false;
  return true;
}
