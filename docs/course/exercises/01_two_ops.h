// Exercise of lesson 1: two ops, each with the rule of its gradient. Both forward passes are right; fill the gaps.
#pragma once

#include "01_tape.h"

// y = a / b, element by element, with broadcasting.
inline Tensor operator/(const Tensor& a, const Tensor& b) {
  return binary(
      a, b, [](double u, double v) { return u / v; },
      // GAP: the derivative of u / v by u, and by v.
      [](double, double) { return 0.0; }, [](double, double) { return 0.0; });
}

// y[j, i] = x[i, j].
inline Tensor transpose(const Tensor& x) {
  check(x.shape().size() == 2, "transpose: wants a matrix, not " + str(x.shape()));
  const int rows = x.shape()[0], columns = x.shape()[1];
  const Tensor y = zeros({columns, rows});
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) y.value(j * rows + i) = x.value(i * columns + j);
  record({x}, y, [=] {
    // GAP: add to x.grad(...) what reaches it from y.grad(...).
  });
  return y;
}
