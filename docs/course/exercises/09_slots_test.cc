#include <09_slots.h>

#include "check.h"

int main() {
  return run_checks([] {
    for (const size_t n : {0, 1, 5, 999, 1001, 50'000, 200'003}) {
      std::vector<float> x;
      double truth = 0;
      for (size_t i = 0; i < n; ++i) {
        x.push_back(1.f / static_cast<float>(i + 1));
        truth += x.back();
      }
      const float by_one = parallel_sum(x, 1);
      bool same = true;
      for (const size_t threads : {2, 3, 4, 7, 64, 65}) same = same && parallel_sum(x, threads) == by_one;
      std::printf("%zu numbers\n", n);
      expect(same, "the same bits with 1, 2, 3, 4, 7, 64, 65 threads");
      expect_close(by_one, truth, 1e-5 * (1 + truth), "and the sum");
    }
    // A slot holds about 1,000 numbers, so its error is that of a short sum.
    const std::vector<float> tenths(64'000, 0.1f);
    expect_close(parallel_sum(tenths, 4), 6400, 0.1, "64,000 tenths: a plain sum is off by 3.9");
  });
}
