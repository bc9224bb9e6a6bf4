#include <10_fuse.h>

#include "check.h"

int main() {
  return run_checks([] {
    constexpr size_t rows = 500, channels = 24, n = rows * channels;
    constexpr double eps = 1e-3;
    Cache cache;
    Array x(cache, n), residual(cache, n), y(cache, n, NAN);
    for (size_t i = 0; i < n; ++i) {
      x.values()[i] = static_cast<float>(1000 + i * 7919 % 101 * 0.01 + static_cast<double>(i % channels));
      residual.values()[i] = static_cast<float>(i * 31 % 17) / 8 - 1;
    }
    norm_add_relu(x, residual, y, rows, channels, eps);

    double off = 0;
    for (size_t c = 0; c < channels; ++c) {
      double mean = 0, var = 0;
      for (size_t i = c; i < n; i += channels) mean += x.values()[i] / double{rows};
      for (size_t i = c; i < n; i += channels) var += (x.values()[i] - mean) * (x.values()[i] - mean) / double{rows};
      for (size_t i = c; i < n; i += channels) {
        const double want = std::max((x.values()[i] - mean) / std::sqrt(var + eps) + residual.values()[i], 0.);
        const double d = std::abs(want - y.values()[i]);
        off = d <= off ? off : d;  // a NaN stays
      }
    }
    expect_close(off, 0, 1e-5, "the numbers");
    const auto at_most = [](int64_t count, double most, const char* what) {
      expect(static_cast<double>(count) <= most * double{n}, what);
      std::printf("          %.2f for each element\n", static_cast<double>(count) / double{n});
    };
    at_most(x.reads, 2.01, "x is read twice: the shift may be read once more");
    at_most(residual.reads, 1, "the residual is read once");
    at_most(y.reads, 0, "y is not read");
    at_most(y.writes, 1, "y is written once");
  });
}
