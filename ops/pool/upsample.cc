#include "norma/ops/pool/upsample.h"

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"
#include "norma/ops/pool/pool2d.h"

namespace norma {

Tensor upsample_nearest(const Tensor& x, Pair scale) {
  const Op op("upsample_nearest", {x});
  op.check(x.rank() == 4, "wants [N, H, W, C]: shape {}", x.shape());
  op.check(scale.h >= 1 && scale.w >= 1, "scale {}: wants at least 1: input {}", shape_of(scale), x.shape());
  op.check(in_steps(scale), "scale {}: wants at most {}: input {}", shape_of(scale), kMaxStep, x.shape());
  const int64_t n = x.dim(0), h = x.dim(1), w = x.dim(2), c = x.dim(3);
  Tensor y({n, saturating(h, scale.h, 0), saturating(w, scale.w, 0), c}, x.dtype(), x.device());
  kernel::upsample_nearest(scale, x.contiguous(), y);
  // The gradient is the sum of each window of copies.
  const PoolGeometry copies = {n, h * scale.h, w * scale.w, c, h, w, scale, scale, 0};
  return op.record({x}, y, [copies](const Tensor& dy, Sink& dx) {
    dx.write(0, kernel::avg_pool2d, copies, PoolDivisor::one, dy.contiguous());
  });
}

void cpu::upsample_nearest(Pair scale, const Tensor& x, const Tensor& y) {
  dispatch_floating("upsample_nearest", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const int64_t w = x.dim(2), c = x.dim(3), length = w * scale.w * c;  // of a row of y
    parallel_each(x.dim(0) * x.dim(1), 16384 / (length + 1) / scale.h + 1, [&](int64_t row) {
      T* const first = out + row * scale.h * length;
      T* to = first;
      for (int64_t ix = 0; ix < w; ++ix)
        for (int64_t k = 0; k < scale.w; ++k) to = std::copy_n(in + (row * w + ix) * c, c, to);
      for (int64_t k = 1; k < scale.h; ++k) to = std::copy_n(first, length, to);
    });
  });
}

}  // namespace norma
