#include "norma/ops/elementwise/binary.h"

#include "norma/autograd/op.h"
#include "norma/core/strided.h"
#include "norma/ops/elementwise/binary_functions.h"

namespace norma {
namespace {

Tensor compare(const char* name, Compare f, const Tensor& a, const Tensor& b) {
  Op(name).check_same({a, b}, false);
  Tensor y(broadcast_shapes(name, a.shape(), b.shape()), boolean, a.device());
  kernel::compare(f, a, b, y);
  return y;
}

Tensor compare(const char* name, Compare f, const Tensor& a, double b) {
  const Tensor x = a.is_floating() ? a : a.to(f64);
  return compare(name, f, x, full({}, b, x.dtype(), x.device()));
}

}  // namespace

Tensor elementwise(const char* name, Binary f, const Tensor& a, const Tensor& b) {
  Op op(name);
  op.check_same({a, b});
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
          const auto input = static_cast<size_t>(side);
          if (!dx.wants(input)) continue;
          const Shape& shape = dx.shape(input);
          if (f == Binary::add || (f == Binary::sub && side == 0)) {
            dx.give(input, sum_to(dy, shape));
            continue;
          }
          const bool same = shape == dy.shape();
          const auto [grad, add] = same ? dx.into(input) : Sink::Target{empty_like(dy), false};
          kernel::binary_backward(f, side, dy, a->defined() ? *a : dy, b->defined() ? *b : dy, grad, add);
          if (!same) dx.give(input, sum_to(grad, shape));
        }
      });
}

#define NORMA_BINARY(name)                                                                         \
  Tensor name(const Tensor& a, const Tensor& b) { return elementwise(#name, Binary::name, a, b); } \
  Tensor name(const Tensor& a, double b) { return name(a, full({}, b, a.dtype(), a.device())); }   \
  Tensor name(double a, const Tensor& b) { return name(full({}, a, b.dtype(), b.device()), b); }
NORMA_EACH_BINARY(NORMA_BINARY)
#undef NORMA_BINARY

#define NORMA_COMPARE(name)                                                                     \
  Tensor name(const Tensor& a, const Tensor& b) { return compare(#name, Compare::name, a, b); } \
  Tensor name(const Tensor& a, double b) { return compare(#name, Compare::name, a, b); }
NORMA_EACH_COMPARE(NORMA_COMPARE)
#undef NORMA_COMPARE

namespace cpu {
namespace {

// Calls use(sd, sa, sb) with steps that the compiler knows, where they are the usual ones, so that it can vectorise.
template <class Use>
void with_steps(int64_t sd, int64_t sa, int64_t sb, Use use) {
  constexpr std::integral_constant<int64_t, 0> k0;
  constexpr std::integral_constant<int64_t, 1> k1;
  if (sd == 1 && sa == 1 && sb == 1) use(k1, k1, k1);
  else if (sd == 1 && sa == 1 && sb == 0) use(k1, k1, k0);
  else if (sd == 1 && sa == 0 && sb == 1) use(k1, k0, k1);
  else if (sd == 0 && sa == 1 && sb == 1) use(k0, k1, k1);
  else use(sd, sa, sb);
}

}  // namespace

void binary(Binary f, const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch_floating("binary", y.dtype(), [&]<class T>() {
    const T *p = a.data<T>(), *q = b.data<T>();
    T* out = y.mutable_data<T>();
    const StridedLoop<3> loop(y.shape(),
                              {broadcast_strides(a, y.shape()), broadcast_strides(b, y.shape()), y.strides()});
    binary_functions::choose<T>(f, [&](auto function) {
      with_steps(1, loop.inner[0], loop.inner[1], [&](auto, auto sa, auto sb) {
        loop([&](auto at, int64_t n) {
          const T *from_a = p + at[0], *from_b = q + at[1];
          T* to = out + at[2];
          for (int64_t i = 0; i < n; ++i) to[i] = function.f(from_a[i * sa], from_b[i * sb]);
        });
      });
    });
  });
}

void binary_backward(Binary f, int side, const Tensor& dy, const Tensor& a, const Tensor& b, const Tensor& dx,
                     bool add) {
  dispatch_floating("binary", dy.dtype(), [&]<class T>() {
    const T *d = dy.data<T>(), *p = a.data<T>(), *q = b.data<T>();
    T* out = dx.mutable_data<T>();
    const Shape& shape = dx.shape();
    const StridedLoop<4> loop(shape,
                              {dy.strides(), broadcast_strides(a, shape), broadcast_strides(b, shape), dx.strides()});
    binary_functions::choose<T>(f, [&](auto function) {
      with_steps(loop.inner[0], loop.inner[1], loop.inner[2], [&](auto sd, auto sa, auto sb) {
        loop([&](auto at, int64_t n) {
          const T *from_d = d + at[0], *from_a = p + at[1], *from_b = q + at[2];
          T* to = out + at[3];
          const auto row = [&](auto derivative) {
            for (int64_t i = 0; i < n; ++i) {
              const T value = from_d[i * sd] * derivative(from_a[i * sa], from_b[i * sb]);
              to[i] = add ? to[i] + value : value;
            }
          };
          if (side == 0) row([&](T s, T t) { return function.da(s, t); });
          else row([&](T s, T t) { return function.db(s, t); });
        });
      });
    });
  });
}

void compare(Compare f, const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch(a.dtype(), [&]<class T>() {
    const T *p = a.data<T>(), *q = b.data<T>();
    bool* out = y.mutable_data<bool>();
    const StridedLoop<3> loop(y.shape(),
                              {broadcast_strides(a, y.shape()), broadcast_strides(b, y.shape()), y.strides()});
    const auto run = [&](auto function) {
      loop([&](auto at, int64_t n) {
        for (int64_t i = 0; i < n; ++i)
          out[at[2] + i] = function(p[at[0] + i * loop.inner[0]], q[at[1] + i * loop.inner[1]]);
      });
    };
    switch (f) {
      case Compare::eq: return run(std::equal_to<T>());
      case Compare::ne: return run(std::not_equal_to<T>());
      case Compare::lt: return run(std::less<T>());
      case Compare::le: return run(std::less_equal<T>());
      case Compare::gt: return run(std::greater<T>());
      case Compare::ge: return run(std::greater_equal<T>());
    }
  });
}

}  // namespace cpu
}  // namespace norma
