// The loops of ops/elementwise/unary.h.
#include "norma/core/simd/vectors.h"
#include "norma/core/strided.h"
#include "norma/ops/elementwise/unary.h"
#include "norma/ops/elementwise/unary_functions.h"

NORMA_SIMD_BEGIN

void unary(Unary f, UnaryParams params, const Tensor& x, const Tensor& y) {
  dispatch_floating("unary", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const StridedLoop<2> loop(x.shape(), {x.strides(), y.strides()});
    unary_functions::choose<T>(f, params, [&](auto function) {
      loop([&](auto at, int64_t n) {
        const T* from = in + at[0];
        T* to = out + at[1];
        const auto local = function;  // else its parameters might be among what is written
        if (loop.inner[0] == 1) {
          for (int64_t i = 0; i < n; ++i) to[i] = local.f(from[i]);
        } else {
          for (int64_t i = 0; i < n; ++i) to[i] = local.f(from[i * loop.inner[0]]);
        }
      });
    });
  });
}

void unary_backward(Unary f, UnaryParams params, const Tensor& dy, const Tensor& saved, const Tensor& dx, bool add) {
  dispatch_floating("unary", dx.dtype(), [&]<class T>() {
    const T *d = dy.data<T>(), *s = saved.data<T>();
    T* out = dx.mutable_data<T>();
    const StridedLoop<3> loop(dx.shape(), {dy.strides(), saved.strides(), dx.strides()});
    unary_functions::choose<T>(f, params, [&](auto function) {
      loop([&](auto at, int64_t n) {
        const T *from_d = d + at[0], *from_s = s + at[1];
        T* to = out + at[2];
        const auto local = function;
        const auto row = [=](auto step_d, auto step_s, auto sum) {
          for (int64_t i = 0; i < n; ++i) {
            const T value = from_d[i * step_d] * local.df(from_s[i * step_s]);
            to[i] = sum ? to[i] + value : value;
          }
        };
        // With what the compiler knows, it vectorises.
        constexpr std::integral_constant<int64_t, 1> one;
        if (loop.inner[0] != 1 || loop.inner[1] != 1) row(loop.inner[0], loop.inner[1], add);
        else if (add) row(one, one, std::true_type());
        else row(one, one, std::false_type());
      });
    });
  });
}

NORMA_SIMD_END
