// The loops of ops/reduce/softmax.h.
#include "norma/core/simd/math.h"
#include "norma/core/simd/reduce.h"
#include "norma/ops/reduce/softmax.h"

NORMA_SIMD_BEGIN

void softmax(bool log, const Tensor& x, const Tensor& y) {
  dispatch_floating("softmax", x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    const int64_t n = x.dim(-1);
    parallel_each(x.numel() / n, 1 + 1024 / n, [=](int64_t row) {
      const T* __restrict in = from + row * n;
      T* __restrict out = to + row * n;
      const T top = static_cast<T>(reduce_array<Max>(n, in));
      for (int64_t i = 0; i < n; ++i) out[i] = elementary::exp(in[i] - top);
      const double sum = reduce_array<Sum>(n, out);
      const T shift = static_cast<T>(std::log(sum)), scale = static_cast<T>(1 / sum);
      for (int64_t i = 0; i < n; ++i) out[i] = log ? in[i] - top - shift : out[i] * scale;
    });
  });
}

void softmax_backward(bool log, const Tensor& dy, const Tensor& y, const Tensor& dx, bool add) {
  dispatch_floating("softmax", dy.dtype(), [&]<class T>() {
    const T *d = dy.data<T>(), *s = y.data<T>();
    T* to = dx.mutable_data<T>();
    const int64_t n = y.dim(-1);
    parallel_each(y.numel() / n, 1 + 1024 / n, [=](int64_t row) {
      const T *from_d = d + row * n, *from_s = s + row * n;
      T* out = to + row * n;
      const auto total =
          static_cast<T>(reduce_all<Sum>(n, [=](int64_t i) { return from_d[i] * (log ? 1. : from_s[i]); }));
      for (int64_t i = 0; i < n; ++i) {
        const T value = log ? from_d[i] - elementary::exp(from_s[i]) * total : from_s[i] * (from_d[i] - total);
        out[i] = add ? out[i] + value : value;
      }
    });
  });
}

NORMA_SIMD_END
