#include "norma/cuda/launch.h"
#include "norma/ops/pool/interpolate.h"

namespace norma::cuda {
namespace {

template <class T>
void resampled(int axis, const Tensor& x, const Tensor& matrix, const Tensor& y, bool add) {
  const T* in = x.cuda_data<T>();
  T* out = y.mutable_cuda_data<T>();
  const double* rows = matrix.cuda_data<double>();
  const int64_t n = x.dim(axis), m = y.dim(axis), width = matrix.dim(1);
  const int64_t inner = axis == 1 ? x.dim(2) * x.dim(3) : x.dim(3);
  for_each("interpolate", y.numel(), [=] __device__(int64_t i) {
    const int64_t row = i / inner;
    const double* terms = rows + row % m * width;
    const T* from = in + (row / m * n + static_cast<int64_t>(terms[0])) * inner + i % inner;
    double sum = 0;
    for (int64_t k = 0; k < static_cast<int64_t>(terms[1]); ++k) sum += terms[2 + k] * from[k * inner];
    out[i] = static_cast<T>(add ? out[i] + sum : sum);
  });
}

}  // namespace

void resample(int axis, const Tensor& x, const Tensor& matrix, const Tensor& y, bool add) {
  dispatch_floating("interpolate", x.dtype(), [&]<class T>() { resampled<T>(axis, x, matrix, y, add); });
}

}  // namespace norma::cuda
