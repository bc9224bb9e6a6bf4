#include <01_two_ops.h>

#include "check.h"

int main() {
  return run_checks([] {
    const Tensor a = tensor({2, 1}, {1, 2}), b = tensor({2}, {4, -5});
    a.want_grad();
    b.want_grad();
    Tape tape;
    const Tensor weights = tensor({2, 2}, {1, 10, 100, 1000});  // each place has its own: none can stand in for another
    tape.backward(sum(a / b * weights));
    expect_close(a.grad(0), 1 / 4. - 10 / 5., 1e-12, "a / b: gradient of a, first row");
    expect_close(a.grad(1), 100 / 4. - 1000 / 5., 1e-12, "a / b: gradient of a, second row");
    expect_close(b.grad(0), -(1 * 1 + 100 * 2) / 16., 1e-12, "a / b: gradient of b, first column");
    expect_close(b.grad(1), -(10 * 1 + 1000 * 2) / 25., 1e-12, "a / b: gradient of b, second column");

    const Tensor x = tensor({2, 3}, {1, 2, 3, 4, 5, 6});
    x.want_grad();
    x.grad(0) = 7;  // a gradient that is there already: the rule has to add to it
    const Tensor y = transpose(x);
    expect(y.shape() == Shape({3, 2}) && y.value(1) == 4, "transpose: the forward pass");
    tape.backward(sum(y * tensor({3, 2}, {1, 2, 3, 4, 5, 6})));
    expect_close(x.grad(0), 7 + 1, 1e-12, "transpose: gradient at [0, 0], added to the 7 that was there");
    expect_close(x.grad(1), 3, 1e-12, "transpose: gradient at [0, 1]");
    expect_close(x.grad(5), 6, 1e-12, "transpose: gradient at [1, 2]");

    const Tensor w = tensor({3, 2}, {1, 0, 0, 1, 1, 1});
    w.want_grad();
    tape.backward(sum(matmul(transpose(w), transpose(x)) * tensor({2, 2}, {1, 10, 100, 1000})));
    expect_close(w.grad(0), 1 * 1 + 10 * 4, 1e-12, "two transposes in a product");
  });
}
