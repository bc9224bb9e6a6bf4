#include "norma/cuda/launch.h"
#include "norma/ops/elementwise/where.h"

namespace norma::cuda {
namespace {

template <class T>
void choose(const Tensor& condition, const Tensor& a, const Tensor& b, const Tensor& y) {
  const bool* c = condition.cuda_data<bool>();
  const T *p = a.cuda_data<T>(), *q = b.cuda_data<T>();
  T* out = y.mutable_cuda_data<T>();
  map("where", elements_of(condition, a, b, y), out,
      [=] __device__(const Offsets<4>& at) { return c[at[0]] ? p[at[1]] : q[at[2]]; });
}

}  // namespace

void where(const Tensor& condition, const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch(y.dtype(), [&]<class T>() { choose<T>(condition, a, b, y); });
}

}  // namespace norma::cuda
