// The loops of ops/elementwise/unary.h.
#include "norma/core/simd/for_each.h"
#include "norma/ops/elementwise/unary_functions.h"

NORMA_SIMD_BEGIN

void unary(Unary f, UnaryParams params, const Tensor& x, const Tensor& y) {
  dispatch_floating("unary", x.dtype(), [&]<class T>() {
    unary_functions::choose<T>(f, params,
                               [&](auto function) { map<T, T>([=](T& to, T from) { to = function.f(from); }, y, x); });
  });
}

void unary_backward(Unary f, UnaryParams params, const Tensor& dy, const Tensor& saved, const Tensor& dx, bool add) {
  dispatch_floating("unary", dx.dtype(), [&]<class T>() {
    const StridedLoop<3> loop = elements_of(dy, saved, dx);
    unary_functions::choose<T>(f, params, [&](auto function) {
      const auto run = [&](auto sum) {
        const auto put = [=](T& to, T d, T s) {
          const T value = function.gradient(d, s);
          to = sum ? to + value : value;
        };
        map<T, T, T>(put, dx, dy, saved);
      };
      // In the usual case the compiler knows whether it adds: else it leaves the question inside of a long loop.
      if (loop.inner[0] != 1 || loop.inner[1] != 1) run(add);
      else if (add) run(std::true_type());
      else run(std::false_type());
    });
  });
}

NORMA_SIMD_END
