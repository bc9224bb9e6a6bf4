// The loops of ops/elementwise/unary.h.
#include "norma/core/simd/for_each.h"
#include "norma/ops/elementwise/unary_functions.h"

NORMA_SIMD_BEGIN

void unary(Unary f, UnaryParams params, const Tensor& x, const Tensor& y) {
  dispatch_floating("unary", x.dtype(), [&]<class T>() {
    const T* in = x.strided_data<T>();
    T* out = y.mutable_data<T>();
    unary_functions::choose<T>(f, params, [&](auto function) {
      for_each(elements_of(x, y), [=](const auto& at) { out[at[1]] = function.f(in[at[0]]); });
    });
  });
}

void unary_backward(Unary f, UnaryParams params, const Tensor& dy, const Tensor& saved, const Tensor& dx, bool add) {
  dispatch_floating("unary", dx.dtype(), [&]<class T>() {
    const T *d = dy.strided_data<T>(), *s = saved.strided_data<T>();
    T* out = dx.mutable_data<T>();
    const StridedLoop<3> loop = elements_of(dy, saved, dx);
    unary_functions::choose<T>(f, params, [&](auto function) {
      const auto run = [&](auto sum) {
        for_each(loop, [=](const auto& at) {
          const T value = function.gradient(d[at[0]], s[at[1]]);
          out[at[2]] = sum ? out[at[2]] + value : value;
        });
      };
      // In the usual case the compiler knows whether it adds: else it leaves the question inside of a long loop.
      if (loop.inner[0] != 1 || loop.inner[1] != 1) run(add);
      else if (add) run(std::true_type());
      else run(std::false_type());
    });
  });
}

NORMA_SIMD_END
