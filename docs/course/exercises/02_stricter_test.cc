#include <02_stricter.h>

#include "check.h"

// y = 3 x, with a rule that assigns.
Tensor triple(const Tensor& x) {
  const Tensor y = zeros(x.shape());
  for (int i = 0; i < x.size(); ++i) y.value(i) = 3 * x.value(i);
  record({x}, y, [=] {
    for (int i = 0; i < x.size(); ++i) x.grad(i) = 3 * y.grad(i);
  });
  return y;
}

// y = a * b; the gradient of b is forgotten where a wants none.
Tensor product(const Tensor& a, const Tensor& b) {
  const Tensor y = zeros(a.shape());
  for (int i = 0; i < a.size(); ++i) y.value(i) = a.value(i) * b.value(i);
  record({a, b}, y, [=] {
    if (!a.wants_grad()) return;
    for (int i = 0; i < a.size(); ++i) {
      a.grad(i) += y.grad(i) * b.value(i);
      if (b.wants_grad()) b.grad(i) += y.grad(i) * a.value(i);
    }
  });
  return y;
}

int main() {
  return run_checks([] {
    std::mt19937 generator(1);
    const Tensor upstream = random_tensor({2, 2}, generator);
    const auto random = [&](const Shape& shape) { return random_tensor(shape, generator); };
    const Op sums = [](const auto& in) { return in[0] + in[1] * in[0]; };
    expect(passes(sums, {random({2, 2}), random({2})}, upstream), "a + b a is right");
    expect(passes([](const auto& in) { return matmul(in[0], in[1]); }, {random({2, 3}), random({3, 2})}, upstream),
           "matmul is right");
    expect(passes([](const auto& in) { return tanh(in[0]); }, {random({2, 2})}, upstream), "tanh is right");

    const auto square = [](double v) { return v * v; };
    const Op slope_of_one = [&](const auto& in) { return unary(in[0], square, [](double v, double) { return v; }); };
    expect(!passes(slope_of_one, {random({2, 2})}, upstream), "x * x with the slope x is wrong");
    expect(!passes([](const auto& in) { return triple(in[0]); }, {random({2, 2})}, upstream),
           "a rule that assigns is wrong");
    expect(!passes([](const auto& in) { return product(in[0], in[1]); }, {random({2, 2}), random({2, 2})}, upstream),
           "a rule that forgets b where a wants nothing is wrong");
  });
}
