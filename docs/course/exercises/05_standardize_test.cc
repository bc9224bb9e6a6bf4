#include <05_standardize.h>

#include "check.h"

int main() {
  return run_checks([] {
    Standardizer standardizer;
    const Table training = {{10, 1e9, 4}, {20, 1e9 + 1, 4}, {60, 1e9 + 2, 4}, {30, 1e9 + 3, 4}};
    standardizer.learn(training);
    const Table x = standardizer.apply(training);
    for (size_t c = 0; c < 3; ++c) {
      double mean = 0, square = 0;
      for (const auto& row : x) mean += row[c] / 4, square += row[c] * row[c] / 4;
      std::printf("column %zu\n", c);
      expect_close(mean, 0, 1e-6, "mean");
      expect_close(square, c == 2 ? 0 : 1, 1e-6, "mean square (0 of the constant column)");
    }
    const Table test = standardizer.apply({{30, 1e9, 5}});
    expect_close(test[0][0], 0, 1e-12, "a test value that is the mean of training becomes 0");
    expect_close(test[0][2], 1, 1e-12, "a column that was constant is shifted only");
  });
}
