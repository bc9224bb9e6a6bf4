#include <limits>

#include "norma/cuda/sums.h"
#include "norma/ops/reduce/softmax.h"

namespace norma::cuda {
namespace {

template <class T>
void forward(bool log, const Tensor& x, const Tensor& y) {
  const T* from = x.cuda_data<T>();
  T* to = y.mutable_cuda_data<T>();
  const int64_t n = x.dim(-1);
  for_each_row("softmax", x.numel() / n, n, [=] __device__(int64_t row, const Lane& lane) {
    const T* in = from + row * n;
    T* out = to + row * n;
    T top = -std::numeric_limits<T>::infinity();
    for (int64_t i = lane.index; i < n; i += lane.count) top = Larger()(top, in[i]);
    top = reduce_row(top, lane, Larger());
    const double part =
        sum_of<T>(lane.index, n, lane.count, 1, [&](int64_t i, T by) { return std::exp(in[i] - top) * by; });
    const double sum = reduce_row(part, lane, Plus());
    const T shift = static_cast<T>(std::log(sum)), scale = static_cast<T>(1 / sum);
    map_range(
        lane.index, n, lane.count, [=](int64_t i) { return log ? in[i] - top - shift : std::exp(in[i] - top) * scale; },
        [=](int64_t i, T value) { out[i] = value; });
  });
}

template <class T>
void backward(bool log, const Tensor& dy, const Tensor& y, const Tensor& dx, bool add) {
  const T *d = dy.cuda_data<T>(), *s = y.cuda_data<T>();
  T* to = dx.mutable_cuda_data<T>();
  const int64_t n = y.dim(-1);
  for_each_row("softmax", y.numel() / n, n, [=] __device__(int64_t row, const Lane& lane) {
    const T *from_d = d + row * n, *from_s = s + row * n;
    T* out = to + row * n;
    const double sum = sum_of<T>(lane.index, n, lane.count, log ? 1 : 2, [&](int64_t i, T by) {
      return Factors<T>{from_d[i] * by, log ? T(1) : from_s[i] * by};
    });
    const T total = static_cast<T>(reduce_row(sum, lane, Plus()));
    map_range(
        lane.index, n, lane.count,
        [=](int64_t i) {
          const T value = log ? from_d[i] - std::exp(from_s[i]) * total : from_s[i] * (from_d[i] - total);
          return add ? out[i] + value : value;
        },
        [=](int64_t i, T value) { out[i] = value; });
  });
}

}  // namespace

void softmax(bool log, const Tensor& x, const Tensor& y) {
  dispatch_floating("softmax", x.dtype(), [&]<class T>() { forward<T>(log, x, y); });
}

void softmax_backward(bool log, const Tensor& dy, const Tensor& y, const Tensor& dx, bool add) {
  dispatch_floating("softmax", dy.dtype(), [&]<class T>() { backward<T>(log, dy, y, dx, add); });
}

}  // namespace norma::cuda
