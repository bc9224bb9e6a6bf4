#include <12_weights.h>
#include <norma/core/random.h>

#include "check.h"

using namespace norma;

int main() {
  return run_checks([] {
    Generator random(1);
    const Tensor x = randn({9, 4}, random, f64) * 3 + 1, g = randn({9, 4}, random, f64);
    const std::vector<int64_t> begins = {0, 2, 3, 9};  // shares of 2, 1 and 6 samples
    const Tensor mean_of_all = mean(x, {0}), s = sqrt(var(x, {0}, 0)), xhat = (x - mean_of_all) / s;
    const Tensor dx = (g - mean(g, {0}) - xhat * mean(g * xhat, {0})) / s;

    double weights[3] = {}, off[3] = {};
    run_workers({.count = 3}, [&](Communicator& me) {
      const auto rank = static_cast<size_t>(me.rank());
      const int64_t begin = begins[rank], end = begins[rank + 1];
      weights[rank] = weight_of_share(me, end - begin);
      const auto mine = [&](const Tensor& t) { return view::slice(t, 0, begin, end).contiguous(); };
      off[rank] = max(abs(sync_norm_backward(me, mine(g), mine(xhat), s) - mine(dx))).item();
    });
    expect_close(weights[0], 3 * 2 / 9., 1e-12, "weight of 2 samples of 9, for 3 workers");
    expect_close(weights[1], 3 * 1 / 9., 1e-12, "weight of 1 sample");
    expect_close(weights[2], 3 * 6 / 9., 1e-12, "weight of 6 samples");
    for (const double d : off)
      expect_close(d, 0, 1e-12, "the gradient of a share is its part of the gradient of the batch");
  });
}
