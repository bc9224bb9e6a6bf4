#include "norma/cuda/launch.h"
#include "norma/ops/pool/interpolate.h"

namespace norma::cuda {
namespace {

template <class T>
void resampled(const Tensor& x, const Tensor& rows, const Tensor& columns, const Tensor& y, bool add) {
  const T* in = x.cuda_data<T>();
  T* out = y.mutable_cuda_data<T>();
  const double *tops = rows.cuda_data<double>(), *lefts = columns.cuda_data<double>();
  const int64_t h = x.dim(1), w = x.dim(2), c = x.dim(3), oh = y.dim(1), ow = y.dim(2);
  const int64_t down = rows.dim(1), across = columns.dim(1);
  for_each("interpolate", y.numel(), [=] __device__(int64_t i) {
    const double *ys = tops + i / c / ow % oh * down, *xs = lefts + i / c % ow * across;
    const auto top = static_cast<int64_t>(ys[0]), left = static_cast<int64_t>(xs[0]);
    const T* corner = in + ((i / c / ow / oh * h + top) * w + left) * c + i % c;
    const auto height = static_cast<int64_t>(ys[1]), width = static_cast<int64_t>(xs[1]);
    double sum = 0;
    for (int64_t ky = 0; ky < height; ++ky)
      for (int64_t kx = 0; kx < width; ++kx) sum += ys[2 + ky] * xs[2 + kx] * corner[(ky * w + kx) * c];
    out[i] = static_cast<T>(add ? out[i] + sum : sum);
  });
}

}  // namespace

void resample(const Tensor& x, const Tensor& rows, const Tensor& columns, const Tensor& y, bool add) {
  dispatch_floating("interpolate", x.dtype(), [&]<class T>() { resampled<T>(x, rows, columns, y, add); });
}

}  // namespace norma::cuda
