#include "norma/cuda/launch.h"
#include "norma/ops/pool/upsample.h"

namespace norma::cuda {
namespace {

template <class T>
void forward(Pair scale, const Tensor& x, const Tensor& y) {
  const T* in = x.cuda_data<T>();
  T* out = y.mutable_cuda_data<T>();
  const int64_t h = y.dim(1), w = y.dim(2), c = y.dim(3), sh = scale.h, sw = scale.w;
  for_each("upsample_nearest", y.numel(), [=] __device__(int64_t i) {
    const int64_t ox = i / c % w, oy = i / c / w % h, n = i / c / w / h;
    out[i] = in[((n * (h / sh) + oy / sh) * (w / sw) + ox / sw) * c + i % c];
  });
}

template <class T>
void backward(Pair scale, const Tensor& dy, const Tensor& dx, bool add) {
  const T* in = dy.cuda_data<T>();
  T* out = dx.mutable_cuda_data<T>();
  const int64_t w = dx.dim(2), c = dx.dim(3), sh = scale.h, sw = scale.w;
  for_each("upsample_nearest", dx.numel(), [=] __device__(int64_t i) {
    const int64_t pixel = i / c;
    double sum = 0;
    for (int64_t ky = 0; ky < sh; ++ky)
      for (int64_t kx = 0; kx < sw; ++kx) sum += in[((pixel / w * sh + ky) * w * sw + pixel % w * sw + kx) * c + i % c];
    out[i] = static_cast<T>(add ? out[i] + sum : sum);
  });
}

}  // namespace

void upsample_nearest(Pair scale, const Tensor& x, const Tensor& y) {
  dispatch_floating("upsample_nearest", x.dtype(), [&]<class T>() { forward<T>(scale, x, y); });
}

void upsample_nearest_backward(Pair scale, const Tensor& dy, const Tensor& dx, bool add) {
  dispatch_floating("upsample_nearest", dy.dtype(), [&]<class T>() { backward<T>(scale, dy, dx, add); });
}

}  // namespace norma::cuda
