#include "norma/cuda/sums.h"
#include "norma/ops/pool/interpolate.h"

namespace norma::cuda {
namespace {

// The matrix is in double, the sums are not, but lose nothing: a weight is the sum of two numbers of type T.
template <class T>
void resampled(int axis, const Tensor& x, const Tensor& matrix, const Tensor& y, bool add) {
  const int64_t n = x.dim(axis), m = y.dim(axis), width = matrix.dim(1), most = width - 2;
  const Tensor spans({m, 2}, i64, x.device()), weights({2, m, most}, x.dtype(), x.device());
  const double* rows = matrix.cuda_data<double>();
  int64_t* span = spans.mutable_cuda_data<int64_t>();  // the first input of an output, and how many
  T *high = weights.mutable_cuda_data<T>(), *low = high + m * most;
  for_each("interpolate", m, [=] __device__(int64_t row) {
    const double* terms = rows + row * width;
    for (int64_t k = 0; k < 2; ++k) span[2 * row + k] = static_cast<int64_t>(terms[k]);
    for (int64_t k = 0; k < most; ++k) {
      high[row * most + k] = static_cast<T>(terms[2 + k]);
      low[row * most + k] = static_cast<T>(terms[2 + k] - high[row * most + k]);
    }
  });
  const T* in = x.cuda_data<T>();
  T* out = y.mutable_cuda_data<T>();
  const int64_t inner = axis == 1 ? x.dim(2) * x.dim(3) : x.dim(3);
  for_each("interpolate", y.numel(), [=] __device__(int64_t i) {
    const int64_t row = i / inner % m, outer = i / inner / m, count = span[2 * row + 1];
    const T* from = in + (outer * n + span[2 * row]) * inner + i % inner;
    Compensated<T> sum;
    bool any = false;  // that is not 0
    if (add) sum.add(out[i]);
    for (int64_t k = 0; k < count && count <= kChunk; ++k) {
      sum.add(Factors<T>{high[row * most + k], from[k * inner]});
      sum.low += low[row * most + k] * from[k * inner];
      any = any || from[k * inner] != 0;
    }
    constexpr T least = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
    const bool small = any && std::abs(sum.high) < least;
    if (count <= kChunk && sum.finite() && !small) {
      out[i] = sum.high + sum.low;
    } else {  // many, or beyond T, or of products that lack digits
      double total = add ? out[i] : T(0);
      for (int64_t k = 0; k < count; ++k) total += rows[row * width + 2 + k] * from[k * inner];
      out[i] = static_cast<T>(total);
    }
  });
}

}  // namespace

void resample(int axis, const Tensor& x, const Tensor& matrix, const Tensor& y, bool add) {
  dispatch_floating("interpolate", x.dtype(), [&]<class T>() { resampled<T>(axis, x, matrix, y, add); });
}

}  // namespace norma::cuda
