#include "norma/ops/elementwise/binary.h"

#include "norma/autograd/op.h"
#include "norma/core/simd/for_each.h"
#include "norma/ops/elementwise/binary_functions.h"

namespace norma {

Tensor compare(const char* name, Compare f, const Tensor& a, const Tensor& b) {
  const Op op(name);
  op.check_same({a, b}, false);
  Tensor y(broadcast_shapes(name, a.shape(), b.shape()), boolean, a.device());
  kernel::compare(f, a, b, y);
  return y;
}

// The number as a tensor of no axes beside x: of x's dtype or, where that lacks the number, of f64.
static Tensor number(const char* name, double value, const Tensor& x) {
  const Op op(name);
  const bool there = x.is_floating() || full({}, value, x.dtype()).item() == value;
  return full({}, value, there ? x.dtype() : f64, x.device());
}

Tensor compare(const char* name, Compare f, const Tensor& a, double b) {
  const Tensor y = number(name, b, a);
  return compare(name, f, a.to(y.dtype()), y);
}

static Tensor compare_size(const char* name, Compare f, const Tensor& x) {
  const Op op(name, {x});
  return compare(name, f, abs(x.detach()), std::numeric_limits<double>::infinity());
}
Tensor isinf(const Tensor& x) { return compare_size("isinf", Compare::eq, x); }
Tensor isfinite(const Tensor& x) { return compare_size("isfinite", Compare::lt, x); }

Tensor elementwise(const char* name, Binary f, const Tensor& a, double b) {
  return elementwise(name, f, a, number(name, b, a));
}

Tensor elementwise(const char* name, Binary f, double a, const Tensor& b) {
  return elementwise(name, f, number(name, a, b), b);
}

Tensor elementwise(const char* name, Binary f, const Tensor& a, const Tensor& b) {
  const Op op(name);
  const bool integers = a.dtype() == i64 && (f <= Binary::mul || f == Binary::minimum || f == Binary::maximum);
  op.check_same({a, b}, !integers);
  Tensor y(broadcast_shapes(name, a.shape(), b.shape()), a.dtype(), a.device());
  kernel::binary(f, a, b, y);
  // What the derivatives that are wanted depend on.
  const bool a_wanted = Op::records({a}), b_wanted = Op::records({b});
  const bool constant = f == Binary::add || f == Binary::sub;
  const bool keep_a = !constant && (b_wanted || (f != Binary::mul && f != Binary::div));
  const bool keep_b = !constant && (a_wanted || f != Binary::mul);
  return op.record(
      {a, b}, y,
      [f, a = op.save(keep_a ? a : Tensor()), b = op.save(keep_b ? b : Tensor())](const Tensor& dy, Sink& dx) {
        for (int side : {0, 1}) {
          if (!dx.wants(side)) continue;
          const Shape& shape = dx.shape(side);
          if (f == Binary::add || (f == Binary::sub && side == 0)) {
            dx.give(side, sum_to(dy, shape));
            continue;
          }
          const bool same = shape == dy.shape();
          const auto [grad, add] = same ? dx.into(side) : Sink::Target{empty_like(dy), false};
          kernel::binary_backward(f, side, dy, a.defined() ? a : dy, b.defined() ? b : dy, grad, add);
          if (!same) dx.give(side, sum_to(grad, shape));
        }
      });
}

namespace cpu {

void binary(Binary f, const Tensor& a, const Tensor& b, const Tensor& y) {
  const auto integers = [f](int64_t& to, int64_t s, int64_t t) { to = binary_functions::of_integers(f, s, t); };
  if (y.dtype() == i64) return base::map<int64_t, int64_t, int64_t>(integers, y, a, b);
  dispatch_floating("binary", y.dtype(), [&]<class T>() {
    binary_functions::choose<T>(
        f, [&]<class F>(F) { base::map<T, T, T>([](T& to, T s, T t) { to = F::f(s, t); }, y, a, b); });
  });
}

void binary_backward(Binary f, int side, const Tensor& dy, const Tensor& a, const Tensor& b, const Tensor& dx,
                     bool add) {
  dispatch_floating("binary", dy.dtype(), [&]<class T>() {
    const auto run = [&](auto gradient) {
      const auto put = [=](T& to, T upstream, T s, T t) {
        const T value = gradient(upstream, s, t);
        to = add ? to + value : value;
      };
      base::map<T, T, T, T>(put, dx, dy, a, b);
    };
    binary_functions::choose<T>(f, [&]<class F>(F) {
      if (side == 0) run([](T upstream, T s, T t) { return F::da(upstream, s, t); });
      else run([](T upstream, T s, T t) { return F::db(upstream, s, t); });
    });
  });
}

void compare(Compare f, const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch(a.dtype(), [&]<class T>() {
    const auto run = [&](auto is) { base::map<bool, T, T>([=](bool& to, T s, T t) { to = is(s, t); }, y, a, b); };
    switch (f) {
      case Compare::eq: return run(std::equal_to<T>());
      case Compare::ne: return run(std::not_equal_to<T>());
      case Compare::lt: return run(std::less<T>());
      case Compare::le: return run(std::less_equal<T>());
      case Compare::gt: return run(std::greater<T>());
      case Compare::ge: return run(std::greater_equal<T>());
      case Compare::logical_and: return run(std::logical_and<T>());
      case Compare::logical_or: return run(std::logical_or<T>());
      case Compare::logical_xor: return run([](T s, T t) { return bool(s) != bool(t); });
    }
  });
}

}  // namespace cpu
}  // namespace norma
