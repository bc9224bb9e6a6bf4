#include <07_fold.h>

#include "check.h"

int main() {
  return run_checks([] {
    const Norm norm = {
        {2, -1}, {0.5, 3}, {10, -4}, {9, 0}, 1e-2};  // the second channel was constant: its variance is 0
    const std::vector<double> x = {1, -2, 3};
    for (const bool with_bias : {true, false}) {
      Linear linear = {{{1, 2, 3}, {-1, 0, 4}}, {}};
      if (with_bias) linear.bias = {7, -7};
      const std::vector<double> want = norm(linear(x)), got = fold(linear, norm)(x);
      const char* what = with_bias ? "a layer with a bias" : "a layer without one, which gets one";
      for (size_t o = 0; o < want.size(); ++o) expect_close(got[o], want[o], 1e-10, what);
    }
    const Linear once = fold(Linear{{{1, 2, 3}, {-1, 0, 4}}, {}}, norm);
    const std::vector<double> want = norm(once(x)), got = fold(once, norm)(x);
    expect_close(got[0], want[0], 1e-10, "another norm behind a folded one");
  });
}
