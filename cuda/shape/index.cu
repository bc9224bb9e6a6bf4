#include "norma/cuda/launch.h"
#include "norma/ops/shape/index.h"

namespace norma::cuda {
namespace {

template <class T>
void pick(const Tensor& x, const Tensor& index, const Tensor& y) {
  const int64_t n = x.dim(1), m = y.dim(1), inner = y.dim(2);
  const int64_t s0 = index.strides()[0], s1 = index.strides()[1], s2 = index.strides()[2];
  const int64_t* picks = index.cuda_data<int64_t>();
  const T* in = x.cuda_data<T>();
  T* out = y.mutable_cuda_data<T>();
  for_each("gather", y.numel(), [=] __device__(int64_t i) {
    const int64_t k = i % inner, row = i / inner, o = row / m;
    const int64_t pick = entry_of(picks[o * s0 + row % m * s1 + k * s2], n);
    if (pick >= 0 && pick < n) out[i] = in[(o * n + pick) * inner + k];  // else check_index has reported it
  });
}

// A thread adds up its own column (o, k), in the order of the index.
template <class T>
void add_picked(const Tensor& dy, const Tensor& index, const Tensor& dx) {
  const int64_t n = dx.dim(1), m = dy.dim(1), inner = dy.dim(2);
  const int64_t s0 = index.strides()[0], s1 = index.strides()[1], s2 = index.strides()[2];
  const int64_t* picks = index.cuda_data<int64_t>();
  const T* from = dy.cuda_data<T>();
  T* to = dx.mutable_cuda_data<T>();
  for_each("gather", dy.dim(0) * inner, [=] __device__(int64_t column) {
    const int64_t o = column / inner, k = column % inner;
    for (int64_t i = 0; i < m; ++i) {
      const int64_t pick = entry_of(picks[o * s0 + i * s1 + k * s2], n);
      if (pick >= 0 && pick < n) to[(o * n + pick) * inner + k] += from[(o * m + i) * inner + k];
    }
  });
}

}  // namespace

void check_index(const char* op, const Tensor& index, int64_t low, int64_t n) {
  const int64_t* picks = index.cuda_data<int64_t>();
  DataError* error = context().error;
  const char* what = "index";
  for_each(op, index.numel(), [=] __device__(int64_t i) {
    if (picks[i] < low || picks[i] >= n) report(error, op, what, picks[i], i, n, low);
  });
}

void gather(const Tensor& x, const Tensor& index, const Tensor& y) {
  dispatch(x.dtype(), [&]<class T>() { pick<T>(x, index, y); });
}

void gather_backward(const Tensor& dy, const Tensor& index, const Tensor& dx) {
  dispatch(dy.dtype(), [&]<class T>() { add_picked<T>(dy, index, dx); });
}

}  // namespace norma::cuda
