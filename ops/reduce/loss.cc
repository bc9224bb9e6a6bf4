#include "norma/ops/reduce/loss.h"

#include "norma/autograd/op.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/reduce/reduce.h"

namespace norma {

static void check_pair(const Op& op, const Tensor& a, const Tensor& b) {
  op.check_same({a, b});
  op.check(a.shape() == b.shape(), "shapes differ: {} and {}", a.shape(), b.shape());
  op.check(a.numel() > 0, "no elements: shape {}", a.shape());
}

// Not mean(square(a - b)): squares that f32 has no room for may have a mean that it has.
Tensor mse(const Tensor& a, const Tensor& b) {
  const Op op("mse");
  check_pair(op, a, b);
  const auto n = static_cast<double>(a.numel());
  const Tensor y({}, a.dtype(), a.device());
  kernel::reduce(Reduce::squared_deviation, n, view::reshape(sub(a.detach(), b.detach()), {1, -1, 1}), {}, {}, y);
  return op.record({a, b}, y, [n, a = op.save(a), b = op.save(b)](const Tensor& dy, Sink& dx) {
    const Tensor each = div(dy, n);
    for (int side : {0, 1})
      dx.write(side, [&](const Tensor& grad, bool add) {
        kernel::binary_backward(Binary::squared_difference, side, each, a, b, grad, add);
      });
  });
}

Tensor bce_with_logits(const Tensor& logits, const Tensor& target) {
  const Op op("bce_with_logits");
  check_pair(op, logits, target);
  return mean(elementwise("bce_with_logits", Binary::bce_with_logits, logits, target));
}

}  // namespace norma
