// Exercise of lesson 3: F(3, 2), three outputs of a filter with two taps.
#pragma once

// y[i] = d[i] g[0] + d[i + 1] g[1] for i = 0, 1, 2, of d[0] ... d[3]. Number can be added, subtracted, and multiplied
// with another Number, which the test counts, or with a constant such as 0.5, which it does not.
template <class Number>
void three_outputs(const Number* d, const Number* g, Number* y) {
  // GAP: this is right, and takes six multiplications. Four are enough.
  for (int i = 0; i < 3; ++i) y[i] = d[i] * g[0] + d[i + 1] * g[1];
}
