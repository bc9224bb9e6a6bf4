#include <09_moments.h>

#include <vector>

#include "check.h"

int main() {
  return run_checks([] {
    Moments few;
    for (const float x : {1.f, 2.f, 6.f}) few.add(x);
    expect_close(few.mean, 3, 1e-12, "1, 2, 6: the mean");
    expect_close(few.m2, 14, 1e-12, "1, 2, 6: the squared deviations");

    std::vector<float> x;  // integers, so that sums of them in double are exact: near 4,000,000, 6 apart at most
    for (int i = 0; i < 10'000; ++i) x.push_back(static_cast<float>(4'000'000 + i * i % 7));
    double sum = 0, squares = 0;
    for (const float v : x) {
      const double d = v - 4e6;
      sum += d;
      squares += d * d;
    }
    const double mean = sum / 1e4, var = squares / 1e4 - mean * mean;
    Moments all;
    for (const float v : x) all.add(v);
    expect_close(all.mean, 4e6 + mean, 1e-6, "a mean of four million: the mean");
    expect_close(all.var(), var, 1e-6 * var, "a mean of four million: the variance");

    for (const size_t cut : {0, 1, 17, 5000, 10'000}) {
      Moments first, second;
      for (size_t i = 0; i < x.size(); ++i) (i < cut ? first : second).add(x[i]);
      first.merge(second);
      expect(first.count == 10'000, "cut in two and merged: the count");
      expect_close(first.mean, 4e6 + mean, 1e-6, "cut in two and merged: the mean");
      expect_close(first.var(), var, 1e-6 * var, "cut in two and merged: the variance");
    }
    Moments nothing;
    nothing.merge(Moments());
    expect(nothing.count == 0 && nothing.mean == 0 && nothing.m2 == 0, "two empty ones");
  });
}
