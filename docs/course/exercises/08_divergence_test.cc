#include <08_divergence.h>

#include <random>

#include "check.h"

// KL(p | q) as it is defined: the mean of log(p(x) / q(x)) over p, by a sum over x.
double by_integration(const Gaussian& p, const Gaussian& q) {
  const auto log_density = [](const Gaussian& g, double x) {
    return -(x - g.mean) * (x - g.mean) / (2 * g.var) - std::log(2 * M_PI * g.var) / 2;
  };
  double sum = 0;
  constexpr double step = 1e-3;
  for (double x = -40; x < 40; x += step)
    sum += step * std::exp(log_density(p, x)) * (log_density(p, x) - log_density(q, x));
  return sum;
}

int main() {
  return run_checks([] {
    const Gaussian p = {1, 2}, q = {-0.5, 3};
    const double want = (by_integration(p, q) + by_integration(q, p)) / 2;
    expect_close(divergence(p, q, 0), want, 1e-6, "against the integral that it is");
    expect_close(divergence(q, p, 0), want, 1e-6, "the other way round");
    expect_close(divergence(p, p, 0), 0, 1e-15, "of a distribution from itself");
    expect_close(divergence({1, 0}, {-0.5, 1}, 2), (by_integration(p, q) + by_integration(q, p)) / 2, 1e-6,
                 "eps is added");

    std::mt19937 random(1);
    std::normal_distribution<double> normal;
    double sum = 0;
    for (int batch = 0; batch < 2000; ++batch) {  // of 1,000 values each
      double s = 0, square = 0;
      for (int i = 0; i < 1000; ++i) {
        const double x = normal(random);
        s += x;
        square += x * x;
      }
      sum += divergence({s / 1000, square / 1000 - s / 1000 * s / 1000}, {0, 1}, 0);
    }
    expect_close(values(sum / 2000), 1000, 80, "batches of a thousand values");
  });
}
