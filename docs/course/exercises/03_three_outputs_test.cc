#include <03_three_outputs.h>

#include "check.h"

int multiplications = 0;

struct Counted {
  double value = 0;
};
Counted operator+(Counted a, Counted b) { return {a.value + b.value}; }
Counted operator-(Counted a, Counted b) { return {a.value - b.value}; }
Counted operator*(Counted a, Counted b) {
  ++multiplications;
  return {a.value * b.value};
}
[[maybe_unused]] Counted operator*(Counted a, double b) { return {a.value * b}; }
[[maybe_unused]] Counted operator*(double a, Counted b) { return {a * b.value}; }

int main() {
  return run_checks([] {
    const Counted d[4] = {{2}, {-3}, {5}, {7}}, g[2] = {{11}, {-13}};
    Counted y[3];
    three_outputs(d, g, y);
    expect_close(y[0].value, 2 * 11 + -3 * -13, 1e-12, "y[0]");
    expect_close(y[1].value, -3 * 11 + 5 * -13, 1e-12, "y[1]");
    expect_close(y[2].value, 5 * 11 + 7 * -13, 1e-12, "y[2]");
    expect_close(multiplications, 4, 0, "multiplications");
  });
}
