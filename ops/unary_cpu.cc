// The loops of ops/unary.h.
#include "norma/core/strided.h"
#include "norma/ops/simd.h"
#include "norma/ops/unary.h"
#include "norma/ops/unary_functions.h"

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
        if (loop.inner[0] == 1) {
          for (int64_t i = 0; i < n; ++i) to[i] = function.f(from[i]);
        } else {
          for (int64_t i = 0; i < n; ++i) to[i] = function.f(from[i * loop.inner[0]]);
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
        const auto [step_d, step_s, _] = loop.inner;
        const T *from_d = d + at[0], *from_s = s + at[1];
        T* to = out + at[2];
        for (int64_t i = 0; i < n; ++i) {
          const T value = from_d[i * step_d] * function.df(from_s[i * step_s]);
          to[i] = add ? to[i] + value : value;
        }
      });
    });
  });
}

NORMA_SIMD_END
