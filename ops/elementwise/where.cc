#include "norma/ops/elementwise/where.h"

#include <algorithm>

#include "norma/autograd/op.h"
#include "norma/core/simd/for_each.h"
#include "norma/ops/elementwise/binary.h"

namespace norma {

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  Op op("where");
  op.check(condition.dtype() == boolean, "the condition is {}, not bool: shape {}", condition.dtype(),
           condition.shape());
  op.check_same({a, b}, false);
  op.check(a.device() == condition.device(), "devices differ: condition {} on {}, {} on {}", condition.shape(),
           condition.device(), a.shape(), a.device());
  const Shape shape = broadcast_shapes("where", condition.shape(), broadcast_shapes("where", a.shape(), b.shape()));
  Tensor y(shape, a.dtype(), a.device());
  kernel::where(condition, a, b, y);
  return op.record({condition, a, b}, y, [condition = op.save(condition)](const Tensor& dy, Sink& dx) {
    const Tensor zero = full({}, 0, dy.dtype(), dy.device());
    if (dx.wants(1)) dx.give(1, sum_to(where(condition, dy, zero), dx.shape(1)));
    if (dx.wants(2)) dx.give(2, sum_to(where(condition, zero, dy), dx.shape(2)));
  });
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value) {
  const Op op("masked_fill");
  return where(mask, full({}, value, x.dtype(), x.device()), x);
}

static Tensor triangle(const char* name, const Tensor& x, int64_t diagonal, Compare outside) {
  const Op op(name);
  op.check(x.rank() >= 2, "wants [..., R, C]: shape {}", x.shape());
  const int64_t rows = x.dim(-2), columns = x.dim(-1), first = std::clamp(diagonal, -rows - 1, columns + 1);
  const Tensor row = view::reshape(arange(first, first + rows), {rows, 1});
  return masked_fill(x, compare(name, outside, arange(columns), row).to(x.device()), 0);
}

Tensor triu(const Tensor& x, int64_t diagonal) { return triangle("triu", x, diagonal, Compare::lt); }
Tensor tril(const Tensor& x, int64_t diagonal) { return triangle("tril", x, diagonal, Compare::gt); }

void cpu::where(const Tensor& condition, const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch(y.dtype(), [&]<class T>() {
    base::map<T, bool, T, T>([](T& to, bool c, T s, T t) { to = c ? s : t; }, y, condition, a, b);
  });
}

}  // namespace norma
