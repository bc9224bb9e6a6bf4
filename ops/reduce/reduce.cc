#include "norma/ops/reduce/reduce.h"

#include "norma/autograd/op.h"
#include "norma/ops/elementwise/binary.h"

namespace norma {
namespace {

// A reduction in the one form that kernels know.
struct Reduction {
  Tensor x;      // [outer, n, inner], contiguous
  Shape kept;    // the result's shape with the reduced axes as 1
  Shape result;  // and as asked for
};

Reduction prepare(const Op& op, const Tensor& x, const Shape& axes, bool keepdim, int64_t least = 1) {
  const Shape& shape = x.shape();
  unsigned reduced = axes.rank() == 0 ? (1u << x.rank()) - 1 : 0;
  for (int64_t axis : axes) {
    const unsigned bit = 1u << op.axis(x, axis);
    op.check(!(reduced & bit), "axis {} stands twice in {}: shape {}", axis, axes, shape);
    reduced |= bit;
  }
  Reduction r{{}, shape, {}};
  Shape order, tail;  // the axes with the reduced ones last
  int64_t outer = 1, n = 1, inner = 1;
  bool together = true;  // no axis is kept between two that are reduced
  for (int i = 0; i < x.rank(); ++i) {
    if (reduced >> i & 1) {
      together = together && inner == 1;
      n *= shape[i];
      r.kept[i] = 1;
      tail.push_back(i);
    } else {
      (tail.rank() == 0 ? outer : inner) *= shape[i];
      r.result.push_back(shape[i]);
      order.push_back(i);
    }
  }
  for (int64_t axis : tail) order.push_back(axis);
  if (keepdim) r.result = r.kept;
  op.check(n >= least, "{} elements to reduce, want at least {}: shape {}", n, least, shape);
  r.x = together ? view::reshape(x, {outer, n, inner}) : view::reshape(view::permute(x, order), {outer * inner, n, 1});
  return r;
}

Tensor run(Reduce f, double divisor, const Reduction& r, const Tensor& high = {}, const Tensor& low = {}) {
  Tensor y(r.result, r.x.dtype(), r.x.device());
  kernel::reduce(f, divisor, r.x, high, low, y);
  return y;
}

// f(x, of), unrecorded; `of` broadcasts.
Tensor of_two(Binary f, const Tensor& x, const Tensor& of) {
  const Tensor y = empty_like(x);
  kernel::binary(f, x, of, y);
  return y;
}

// The gradient dy of the results, shared out among the elements behind each in proportion to `weights`. What has no
// weight gets nothing, also of an infinite dy.
Tensor share_out(const Tensor& dy, const Tensor& weights, const Shape& kept) {
  return of_two(Binary::share, weights, div(view::reshape(dy, kept), sum_to(weights, kept)));
}

Tensor extreme(const char* name, Reduce f, const Tensor& x, const Shape& axes, bool keepdim) {
  const Op op(name, {x});
  const Reduction r = prepare(op, x, axes, keepdim, 0);
  Tensor y = run(f, 1, r);
  return op.record({x}, y, [x = op.save(x), y = op.save(y), kept = r.kept](const Tensor& dy, Sink& dx) {
    dx.give(0, share_out(dy, of_two(Binary::wins, x, view::reshape(y, kept)), kept));
  });
}

Tensor total(const char* name, const Tensor& x, const Shape& axes, bool keepdim, bool average) {
  const Op op(name, {x});
  const Reduction r = prepare(op, x, axes, keepdim, average);
  const double n = average ? static_cast<double>(r.x.dim(1)) : 1;
  return op.record({x}, run(Reduce::sum, n, r), [n, kept = r.kept](const Tensor& dy, Sink& dx) {
    dx.give(0, view::expand(view::reshape(n == 1 ? dy : div(dy, n), kept), dx.shape(0)));
  });
}

}  // namespace

Tensor sum(const Tensor& x, const Shape& axes, bool keepdim) { return total("sum", x, axes, keepdim, false); }
Tensor mean(const Tensor& x, const Shape& axes, bool keepdim) { return total("mean", x, axes, keepdim, true); }
Tensor max(const Tensor& x, const Shape& axes, bool keepdim) { return extreme("max", Reduce::max, x, axes, keepdim); }
Tensor min(const Tensor& x, const Shape& axes, bool keepdim) { return extreme("min", Reduce::min, x, axes, keepdim); }

// The mean is held as high + low, so that it keeps its digits also between two numbers of x's dtype: low is the mean of
// what x differs from high, which is the mean as it is rounded.
Tensor var(const Tensor& x, const Shape& axes, int64_t correction, bool keepdim) {
  const Op op("var", {x});
  const Reduction r = prepare(op, x, axes, keepdim, std::clamp<int64_t>(correction, 0, INT64_MAX - 1) + 1);
  const auto n = static_cast<double>(r.x.dim(1)), freedom = n - static_cast<double>(correction);
  const Tensor high = run(Reduce::sum, n, r), low = run(Reduce::deviation, n, r, high);
  const Tensor y = run(Reduce::squared_deviation, freedom, r, high, low);
  return op.record(
      {x}, y,
      [freedom, kept = r.kept, x = op.save(x), high = op.save(high), low = op.save(low)](const Tensor& dy, Sink& dx) {
        const Tensor grad = sub(x, view::reshape(high, kept)), factor = mul(view::reshape(dy, kept), 2 / freedom);
        kernel::binary(Binary::sub, grad, view::reshape(low, kept), grad);
        kernel::binary(Binary::mul, grad, factor, grad);
        dx.give(0, grad);
      });
}

Tensor logsumexp(const Tensor& x, const Shape& axes, bool keepdim) {
  const Op op("logsumexp", {x});
  const Reduction r = prepare(op, x, axes, keepdim, 0);
  const Tensor values = x.detach(), top = max(values, axes, true);
  const Tensor y = view::reshape(add(log(sum(of_two(Binary::exp_below, values, top), axes, true)), top), r.result);
  return op.record({x}, y, [x = op.save(x), top = op.save(top), kept = r.kept](const Tensor& dy, Sink& dx) {
    // Not dy exp(x - y), which loses the digits that y has lost.
    dx.give(0, share_out(dy, of_two(Binary::exp_below, x, top), kept));
  });
}

Tensor argmax(const Tensor& x, int64_t axis, bool keepdim) {
  Op op("argmax");
  const Reduction r = prepare(op, x, {axis}, keepdim);
  Tensor y(r.result, i64, x.device());
  kernel::argmax(r.x, y);
  return y;
}

// Declared in ops/elementwise/binary.h, whose gradients call it; defined here, since it is a sum, and sums are made of
// what that header declares.
Tensor sum_to(const Tensor& x, const Shape& shape) {
  const Op op("sum_to");
  if (x.shape() == shape) return x;
  op.check(broadcastable_to(shape, x.shape()), "{} does not broadcast to {}", shape, x.shape());
  const int extra = x.rank() - shape.rank();
  Shape axes;
  for (int i = 0; i < x.rank(); ++i)
    if (i < extra || shape[i - extra] != x.shape()[i]) axes.push_back(i);
  return view::reshape(sum(x.detach(), axes), shape);
}

}  // namespace norma
