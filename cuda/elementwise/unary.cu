#include "norma/cuda/launch.h"
#include "norma/ops/elementwise/unary.h"
#include "norma/ops/elementwise/unary_functions.h"

namespace norma::cuda {
namespace {

template <class T, class F>
void apply(F f, const Tensor& x, const Tensor& y) {
  const T* in = x.cuda_data<T>();
  T* out = y.mutable_cuda_data<T>();
  map("unary", elements_of(x, y), out, [=] __device__(const Offsets<2>& at) { return f.f(in[at[0]]); });
}

template <class T, class F>
void apply_gradient(F f, const Tensor& dy, const Tensor& saved, const Tensor& dx, bool add) {
  const T *d = dy.cuda_data<T>(), *s = saved.cuda_data<T>();
  T* out = dx.mutable_cuda_data<T>();
  map("unary", elements_of(dy, saved, dx), out, [=] __device__(const Offsets<3>& at) {
    const T value = f.gradient(d[at[0]], s[at[1]]);
    return add ? out[at[2]] + value : value;
  });
}

}  // namespace

void unary(Unary f, UnaryParams params, const Tensor& x, const Tensor& y) {
  dispatch_floating("unary", x.dtype(), [&]<class T>() {
    unary_functions::choose<T>(f, params, [&](auto function) { apply<T>(function, x, y); });
  });
}

void unary_backward(Unary f, UnaryParams params, const Tensor& dy, const Tensor& saved, const Tensor& dx, bool add) {
  dispatch_floating("unary", dx.dtype(), [&]<class T>() {
    unary_functions::choose<T>(f, params, [&](auto function) { apply_gradient<T>(function, dy, saved, dx, add); });
  });
}

}  // namespace norma::cuda
