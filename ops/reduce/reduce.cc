#include "norma/ops/reduce/reduce.h"

#include <cfloat>
#include <ranges>

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/cast.h"
#include "norma/ops/shape/concat.h"
#include "norma/ops/shape/index.h"
#include "norma/ops/shape/views.h"

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
  Tensor y(r.result, r.x.is_floating() ? r.x.dtype() : i64, r.x.device());
  kernel::reduce(f, divisor, r.x, high, low, y);
  return y;
}

// The gradient dy of the results, shared out among the elements behind each in proportion to `weights`. What has no
// weight gets nothing, also of an infinite dy.
Tensor share_out(const Tensor& dy, const Tensor& weights, const Shape& kept) {
  return elementwise("share", Binary::share, weights, div(view::reshape(dy, kept), sum_to(weights, kept)));
}

Tensor extreme(const char* name, Reduce f, const Tensor& x, const Shape& axes, bool keepdim) {
  const Op op(name);
  const Reduction r = prepare(op, x, axes, keepdim, !x.is_floating());
  Tensor y = run(f, 1, r).to(x.dtype());
  return op.record({x}, y, [x = op.save(x), y = op.save(y), kept = r.kept](const Tensor& dy, Sink& dx) {
    dx.give(0, share_out(dy, elementwise("wins", Binary::wins, x, view::reshape(y, kept)), kept));
  });
}

Tensor total(const char* name, const Tensor& x, const Shape& axes, bool keepdim, bool average) {
  const Op op(name);
  const Reduction r = prepare(op, x, axes, keepdim, average);
  const double n = average ? static_cast<double>(r.x.dim(1)) : 1;
  if (!x.is_floating()) return average ? div(run(Reduce::sum, 1, r).to(f64), n).to(f32) : run(Reduce::sum, 1, r);
  return op.record({x}, run(Reduce::sum, n, r), [n, kept = r.kept](const Tensor& dy, Sink& dx) {
    dx.give(0, view::expand(view::reshape(n == 1 ? dy : div(dy, n), kept), dx.shape(0)));
  });
}

Tensor truth(const char* name, Reduce f, const Tensor& x, const Shape& axes, bool keepdim) {
  const Op op(name);
  op.check(x.dtype() == boolean, "wants bool, not {}: shape {}", x.dtype(), x.shape());
  return gt(run(f, 1, prepare(op, x, axes, keepdim, 0)), 0);
}

Tensor place(const char* name, bool largest, const Tensor& x, const Shape& axes, bool keepdim) {
  const Op op(name);
  const Reduction r = prepare(op, x, axes, keepdim);
  Tensor y(r.result, i64, x.device());
  kernel::topk(largest, true, r.x, view::reshape(y, {r.x.dim(0), r.x.dim(2), 1}));
  return y;
}

}  // namespace

Tensor sum(const Tensor& x, const Shape& axes, bool keepdim) { return total("sum", x, axes, keepdim, false); }
Tensor mean(const Tensor& x, const Shape& axes, bool keepdim) { return total("mean", x, axes, keepdim, true); }
Tensor max(const Tensor& x, const Shape& axes, bool keepdim) { return extreme("max", Reduce::max, x, axes, keepdim); }
Tensor min(const Tensor& x, const Shape& axes, bool keepdim) { return extreme("min", Reduce::min, x, axes, keepdim); }
Tensor any(const Tensor& x, const Shape& axes, bool keepdim) { return truth("any", Reduce::max, x, axes, keepdim); }
Tensor all(const Tensor& x, const Shape& axes, bool keepdim) { return truth("all", Reduce::min, x, axes, keepdim); }
Tensor argmax(const Tensor& x, const Shape& axes, bool keepdim) { return place("argmax", true, x, axes, keepdim); }
Tensor argmin(const Tensor& x, const Shape& axes, bool keepdim) { return place("argmin", false, x, axes, keepdim); }

// The mean is held as high + low, so that it keeps its digits also between two numbers of x's dtype: low is the mean of
// what x differs from high, which is the mean as it is rounded.
Tensor variance(const char* name, bool root, const Tensor& x, const Shape& axes, int64_t correction, bool keepdim) {
  const Op op(name, {x});
  const Reduction r = prepare(op, x, axes, keepdim, std::clamp<int64_t>(correction, 0, INT64_MAX - 1) + 1);
  const auto n = static_cast<double>(r.x.dim(1)), freedom = n - static_cast<double>(correction);
  const Tensor high = run(Reduce::sum, n, r), low = run(Reduce::deviation, n, r, high);
  const Tensor y = run(Reduce::squared_deviation, freedom, r, high, low);
  const Tensor result = op.record(
      {x}, y,
      [freedom, kept = r.kept, x = op.save(x), high = op.save(high), low = op.save(low)](const Tensor& dy, Sink& dx) {
        const Tensor grad = sub(x, view::reshape(high, kept)), factor = mul(view::reshape(dy, kept), 2 / freedom);
        kernel::binary(Binary::sub, grad, view::reshape(low, kept), grad);
        // To what does not deviate nothing, also where stddev is infinitely steep.
        kernel::binary(Binary::share, grad, factor, grad);
        dx.give(0, grad);
      });
  return root ? sqrt(result) : result;
}

// What is raised to p is in [0, 1]: of the largest, or the nearest to that which is neither 0 nor infinite.
Tensor vector_norm(const Tensor& x, double p, const Shape& axes, bool keepdim) {
  const Op op("vector_norm", {x});
  op.check(p > 0, "p {} is not positive: shape {}", p, x.shape());
  const Tensor size = abs(x);
  if (std::isinf(p)) return maximum(max(size, axes, keepdim), 0);  // 0 of none
  const bool single = x.dtype() == f32, square = p == 2;
  const double least = single ? FLT_MIN : DBL_MIN, most = single ? FLT_MAX : DBL_MAX;
  const Tensor top = clamp(max(size.detach(), axes, true), least, most), z = div(size, top);
  const Tensor total = maximum(sum(square ? norma::square(z) : pow(z, p), axes, keepdim), least);
  return mul(square ? sqrt(total) : pow(total, 1 / p), view::reshape(top, total.shape()));
}

// The first half times the second one, and so on; what is odd gets a 1.
Tensor prod(const Tensor& x, const Shape& axes, bool keepdim) {
  const Op op("prod", {x});
  const Reduction r = prepare(op, x, axes, keepdim, 0);
  Tensor y = to(x, f64);
  for (int a = 0; a < x.rank(); ++a)
    for (int64_t n = y.dim(a); r.kept[a] == 1 && n != 1; n = y.dim(a))
      y = n == 0 || n % 2 != 0 ? concat({y, full(y.shape().with(a, 1), 1, f64, y.device())}, a)
                               : mul(slice(y, a, 0, n / 2), slice(y, a, n / 2));
  return to(reshape(y, r.result), x.dtype());
}

Tensor cumsum(const Tensor& x, int64_t axis) {
  const Op op("cumsum");
  if (!x.is_floating()) return cumsum(x.to(f64), axis).to(i64);
  const Reduction r = prepare(op, x, {axis}, true, 0);
  const Tensor y = empty_like(x);
  kernel::scan(false, r.x, view::reshape(y, r.x.shape()));
  return op.record({x}, y, [three = r.x.shape()](const Tensor& dy, Sink& dx) {
    const Tensor grad(dx.shape(0), dy.dtype(), dy.device());
    kernel::scan(true, view::reshape(dy, three), view::reshape(grad, three));
    dx.give(0, grad);
  });
}

TopK topk(const Tensor& x, int64_t k, int64_t axis, bool largest) {
  const Op op("topk");
  const Reduction r = prepare(op, x, {axis}, true, 0);
  op.check(k >= 0 && k <= r.x.dim(1), "k {} is not in [0, {}]: axis {} of shape {}", k, r.x.dim(1), axis, x.shape());
  const Tensor y({r.x.dim(0), r.x.dim(2), k}, i64, x.device());
  kernel::topk(largest, largest, r.x, y);  // a NaN is first or last
  const Tensor indices = view::reshape(view::permute(y, {0, 2, 1}), x.shape().with(op.axis(x, axis), k));
  return {gather(x, axis, indices), indices};
}

Tensor logsumexp(const Tensor& x, const Shape& axes, bool keepdim) {
  const Op op("logsumexp", {x});
  const Reduction r = prepare(op, x, axes, keepdim, 0);
  const Tensor values = x.detach(), top = max(values, axes, true);
  const Tensor y =
      view::reshape(add(log(sum(elementwise("exp_below", Binary::exp_below, values, top), axes, true)), top), r.result);
  return op.record({x}, y, [x = op.save(x), top = op.save(top), kept = r.kept](const Tensor& dy, Sink& dx) {
    // Not dy exp(x - y), which loses the digits that y has lost.
    dx.give(0, share_out(dy, elementwise("exp_below", Binary::exp_below, x, top), kept));
  });
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

namespace cpu {

void scan(bool reverse, const Tensor& x, const Tensor& y) {
  dispatch_floating("scan", x.dtype(), [&]<class T>() {
    const int64_t n = x.dim(1), inner = x.dim(2);
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    parallel_each(x.dim(0) * inner, 1 + 4096 / (n + 1), [=](int64_t column) {
      double total = 0;
      for (int64_t k = 0; k < n; ++k) {
        const int64_t at = (column / inner * n + (reverse ? n - 1 - k : k)) * inner + column % inner;
        total += from[at];
        to[at] = static_cast<T>(total);
      }
    });
  });
}

void topk(bool largest, bool nan_first, const Tensor& x, const Tensor& y) {
  dispatch(x.dtype(), [&]<class T>() {
    const int64_t n = x.dim(1), inner = x.dim(2), k = y.dim(2);
    const T* from = x.data<T>();
    int64_t* to = y.mutable_data<int64_t>();
    parallel_each(x.dim(0) * inner, 1 + 4096 / (n + 1), [=](int64_t i) {
      const Before<T> before = {from + i / inner * n * inner + i % inner, inner, largest, nan_first};
      std::ranges::partial_sort_copy(std::views::iota(int64_t{0}, n), std::span(to + i * k, k), before);
    });
  });
}

}  // namespace cpu
}  // namespace norma
