#include "norma/ops/reduce/loss.h"

#include "norma/autograd/op.h"

namespace norma {

static void check_pair(const Op& op, const Tensor& a, const Tensor& b, Reduction reduction) {
  op.check_same({a, b});
  op.check(a.shape() == b.shape(), "shapes differ: {} and {}", a.shape(), b.shape());
  op.check(a.numel() > 0 || reduction != Reduction::mean, "no elements: shape {}", a.shape());
}

Tensor reduced(const Tensor& each, Reduction reduction) {
  return reduction == Reduction::none ? each : reduction == Reduction::sum ? sum(each) : mean(each);
}

// What is reduced is not kept for the gradient. Squares are taken where they are summed up: those that f32 has no room
// for may have a mean that it has.
Tensor loss_of(const char* name, Binary f, const Tensor& a, const Tensor& b, Reduction reduction) {
  const Op op(name);
  check_pair(op, a, b, reduction);
  if (reduction == Reduction::none) return elementwise(name, f, a, b);
  const double n = reduction == Reduction::mean ? static_cast<double>(a.numel()) : 1;
  const bool squares = f == Binary::mse;
  const Tensor x = elementwise(name, squares ? Binary::sub : f, a.detach(), b.detach()), y({}, a.dtype(), a.device());
  kernel::reduce(squares ? Reduce::squared_deviation : Reduce::sum, n, view::reshape(x, {1, a.numel(), 1}), {}, {}, y);
  return op.record({a, b}, y, [f, n, a = op.save(a), b = op.save(b)](const Tensor& dy, Sink& dx) {
    const Tensor each = div(dy, n);
    for (int side : {0, 1})
      dx.write(side, [&](const Tensor& grad, bool add) { kernel::binary_backward(f, side, each, a, b, grad, add); });
  });
}

// With c = min(d, beta), both sides of the kink are c (d - c / 2) / beta.
Tensor smooth_l1(const Tensor& a, const Tensor& b, double beta, Reduction reduction) {
  const Op op("smooth_l1");
  check_pair(op, a, b, reduction);
  op.check(beta > 0 && beta < INFINITY, "beta {} is outside of (0, inf): shape {}", beta, a.shape());
  const Tensor d = abs(sub(a, b)), c = clamp(d, 0, beta);
  return div(reduced(mul(c, sub(d, mul(c, 0.5))), reduction), beta);
}

// The clamp is under the root, which has no finite slope at 0.
Tensor l2_normalize(const Tensor& x, int64_t axis, double eps) {
  const Op op("l2_normalize", {x});
  op.check(eps >= 1e-18 && eps <= 1e18, "eps {} is outside of [1e-18, 1e18]: input {}", eps, x.shape());
  return div(x, sqrt(clamp(sum(square(x), {op.axis(x, axis)}, true), eps * eps, INFINITY)));
}

}  // namespace norma
