// Solution of exercise 03_three_outputs.
#pragma once

// y[i] = d[i] g[0] + d[i + 1] g[1] for i = 0, 1, 2, of d[0] ... d[3]. There are again four points, 0, 1, -1 and
// infinity, so V is the same as for F(2, 3), and so is B^T = V^-T. G has the points' first two powers, and A their
// first three.
template <class Number>
void three_outputs(const Number* d, const Number* g, Number* y) {
  const Number at_0 = (d[0] - d[2]) * g[0];
  const Number at_1 = (d[1] + d[2]) * 0.5 * (g[0] + g[1]);
  const Number at_minus_1 = (d[2] - d[1]) * 0.5 * (g[0] - g[1]);
  const Number at_infinity = (d[3] - d[1]) * g[1];
  y[0] = at_0 + at_1 + at_minus_1;
  y[1] = at_1 - at_minus_1;
  y[2] = at_1 + at_minus_1 + at_infinity;
}
