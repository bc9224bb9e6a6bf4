#include "norma/ops/pool/upsample.h"

#include "norma/autograd/op.h"
#include "norma/core/memory.h"
#include "norma/core/parallel.h"
#include "norma/ops/conv/geometry.h"

namespace norma {

Tensor upsample_nearest(const Tensor& x, Pair scale) {
  Op op("upsample_nearest");
  op.check_same({x});
  op.check(x.rank() == 4, "wants [N, H, W, C]: shape {}", x.shape());
  op.check(scale.h >= 1 && scale.w >= 1, "scale {}: wants at least 1: input {}", shape_of(scale), x.shape());
  Tensor y({x.dim(0), x.dim(1) * scale.h, x.dim(2) * scale.w, x.dim(3)}, x.dtype(), x.device());
  kernel::upsample_nearest(scale, x.contiguous(), y);
  return op.record({x}, y, [scale](const Tensor& dy, Sink& dx) {
    dx.write(0, kernel::upsample_nearest_backward, scale, dy.contiguous());
  });
}

namespace cpu {
namespace {

// Calls f(first, last + 1) for the rows of the small image, on several threads.
template <class F>
void for_rows(const Tensor& small, Pair scale, F&& f) {
  const int64_t length = small.dim(2) * small.dim(3);
  parallel_for(small.dim(0) * small.dim(1), 16384 / std::max<int64_t>(length * scale.h * scale.w, 1) + 1, f);
}

}  // namespace

void upsample_nearest(Pair scale, const Tensor& x, const Tensor& y) {
  dispatch_floating("upsample_nearest", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const int64_t w = x.dim(2), c = x.dim(3), length = w * scale.w * c;  // of a row of y
    for_rows(x, scale, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        T* const first = out + row * scale.h * length;
        T* to = first;
        for (int64_t ix = 0; ix < w; ++ix)
          for (int64_t k = 0; k < scale.w; ++k) to = std::copy_n(in + (row * w + ix) * c, c, to);
        for (int64_t k = 1; k < scale.h; ++k) to = std::copy_n(first, length, to);
      }
    });
  });
}

void upsample_nearest_backward(Pair scale, const Tensor& dy, const Tensor& dx, bool add) {
  dispatch_floating("upsample_nearest", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    const int64_t w = dx.dim(2), c = dx.dim(3);
    for_rows(dx, scale, [&](int64_t begin, int64_t end) {
      PoolVector<double> sums(c);
      double* __restrict sum = sums.data();
      for (int64_t pixel = begin * w; pixel < end * w; ++pixel) {
        std::fill_n(sum, c, 0.0);
        for (int64_t ky = 0; ky < scale.h; ++ky) {
          const T* __restrict from = in + (((pixel / w) * scale.h + ky) * w + pixel % w) * scale.w * c;
          for (int64_t kx = 0; kx < scale.w; ++kx, from += c)
            for (int64_t i = 0; i < c; ++i) sum[i] += from[i];
        }
        T* __restrict to = out + pixel * c;
        for (int64_t i = 0; i < c; ++i) to[i] = static_cast<T>(add ? to[i] + sum[i] : sum[i]);
      }
    });
  });
}

}  // namespace cpu
}  // namespace norma
