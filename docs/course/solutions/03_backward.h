// Solution of exercise 03_backward.
#pragma once

#include "03_conv.h"

// Calls f(y, x, w) with the places of each product x[...] * w[...] that is added to y[...].
template <class Function>
void for_each_product(const Conv& conv, const Function& f) {
  for (int n = 0; n < conv.samples; ++n)
    for (int row = 0; row < conv.height; ++row)
      for (int column = 0; column < conv.width; ++column)
        for (int o = 0; o < conv.out; ++o)
          for (int kr = 0; kr < conv.kernel; ++kr)
            for (int kc = 0; kc < conv.kernel; ++kc) {
              const int r = row + kr - conv.pad(), c = column + kc - conv.pad();
              if (r < 0 || r >= conv.height || c < 0 || c >= conv.width) continue;
              for (int i = 0; i < conv.in; ++i)
                f(((n * conv.height + row) * conv.width + column) * conv.out + o,
                  ((n * conv.height + r) * conv.width + c) * conv.in + i,
                  ((o * conv.kernel + kr) * conv.kernel + kc) * conv.in + i);
            }
}

// dy [N, H, W, C_out], weight [C_out, K, K, C_in] -> dx [N, H, W, C_in]
inline std::vector<double> backward_input(const Conv& conv, const std::vector<double>& dy,
                                          const std::vector<double>& weight) {
  std::vector<double> dx(conv.positions() * conv.in);
  for_each_product(conv, [&](int y, int x, int w) { dx[x] += dy[y] * weight[w]; });
  return dx;
}

// x [N, H, W, C_in], dy [N, H, W, C_out] -> dw [C_out, K, K, C_in]
inline std::vector<double> backward_weight(const Conv& conv, const std::vector<double>& x,
                                           const std::vector<double>& dy) {
  std::vector<double> dw(conv.out * conv.window());
  for_each_product(conv, [&](int y, int at, int w) { dw[w] += dy[y] * x[at]; });
  return dw;
}
