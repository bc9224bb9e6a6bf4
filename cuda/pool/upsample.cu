#include "norma/cuda/launch.h"
#include "norma/ops/pool/upsample.h"

namespace norma::cuda {
namespace {

template <class T>
void upsample(Pair scale, const Tensor& x, const Tensor& y) {
  const T* in = x.cuda_data<T>();
  T* out = y.mutable_cuda_data<T>();
  const int64_t h = y.dim(1), w = y.dim(2), c = y.dim(3), sh = scale.h, sw = scale.w;
  for_each("upsample_nearest", y.numel(), [=] __device__(int64_t i) {
    const int64_t ox = i / c % w, oy = i / c / w % h, n = i / c / w / h;
    out[i] = in[((n * (h / sh) + oy / sh) * (w / sw) + ox / sw) * c + i % c];
  });
}

}  // namespace

void upsample_nearest(Pair scale, const Tensor& x, const Tensor& y) {
  dispatch_floating("upsample_nearest", x.dtype(), [&]<class T>() { upsample<T>(scale, x, y); });
}

}  // namespace norma::cuda
