#include <03_backward.h>

#include "check.h"

// The derivative of sum(y * dy) by each element of `changed`, which is x or the weight, by central differences. The
// convolution is linear in each of them, so these are exact but for rounding.
std::vector<double> differences(const Conv& conv, const std::vector<double>& x, const std::vector<double>& weight,
                                std::vector<double>& changed, const std::vector<double>& dy) {
  const auto loss = [&] {
    const std::vector<double> y = seven_loops(conv, x, weight);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  std::vector<double> result;
  for (double& value : changed) {
    const double before = value;
    value = before + 0.5;
    const double above = loss();
    value = before - 0.5;
    result.push_back(above - loss());
    value = before;
  }
  return result;
}

double worst(const std::vector<double>& a, const std::vector<double>& b) {
  double off = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) off = std::max(off, std::abs(a[i] - b[i]));
  return off;
}

int main() {
  return run_checks([] {
    std::mt19937 generator(1);
    for (const int kernel : {1, 3, 5}) {
      const Conv conv = {.samples = 2, .height = 4, .width = 3, .in = 2, .out = 5, .kernel = kernel};
      const auto random = [&](int count) {
        std::vector<double> values(count);
        for (double& value : values) value = generator() / 2147483648.0 - 1;
        return values;
      };
      std::vector<double> x = random(conv.positions() * conv.in), weight = random(conv.out * conv.window());
      const std::vector<double> dy = random(conv.positions() * conv.out);
      std::printf("kernel %d\n", kernel);
      expect_close(worst(backward_input(conv, dy, weight), differences(conv, x, weight, x, dy)), 0, 1e-10,
                   "largest error of dx");
      expect_close(worst(backward_weight(conv, x, dy), differences(conv, x, weight, weight, dy)), 0, 1e-10,
                   "largest error of dw");
    }
  });
}
