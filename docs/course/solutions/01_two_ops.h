// Solution of exercise 01_two_ops.
#pragma once

#include "01_tape.h"

// y = a / b, element by element, with broadcasting.
inline Tensor operator/(const Tensor& a, const Tensor& b) {
  return binary(
      a, b, [](double u, double v) { return u / v; }, [](double, double v) { return 1 / v; },
      [](double u, double v) { return -u / (v * v); });
}

// y[j, i] = x[i, j].
inline Tensor transpose(const Tensor& x) {
  check(x.shape().size() == 2, "transpose: wants a matrix, not " + str(x.shape()));
  const int rows = x.shape()[0], columns = x.shape()[1];
  const Tensor y = zeros({columns, rows});
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) y.value(j * rows + i) = x.value(i * columns + j);
  record({x}, y, [=] {
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j) x.grad(i * columns + j) += y.grad(j * rows + i);
  });
  return y;
}
