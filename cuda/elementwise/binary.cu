#include "norma/cuda/launch.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/binary_functions.h"

namespace norma::cuda {
namespace {

// y = f(a, b), which broadcast.
template <class T, class Y, class F>
void apply(const char* op, F f, const Tensor& a, const Tensor& b, const Tensor& y) {
  const T *p = a.cuda_data<T>(), *q = b.cuda_data<T>();
  Y* out = y.mutable_cuda_data<Y>();
  map(op, elements_of(a, b, y), out, [=] __device__(const Offsets<3>& at) { return f(p[at[0]], q[at[1]]); });
}

template <class T, class F>
void apply_gradient(F f, int side, const Tensor& dy, const Tensor& a, const Tensor& b, const Tensor& dx, bool add) {
  const T *d = dy.cuda_data<T>(), *p = a.cuda_data<T>(), *q = b.cuda_data<T>();
  T* out = dx.mutable_cuda_data<T>();
  map("binary", elements_of(dy, a, b, dx), out, [=] __device__(const Offsets<4>& at) {
    const T upstream = d[at[0]], s = p[at[1]], t = q[at[2]];
    const T value = side == 0 ? f.da(upstream, s, t) : f.db(upstream, s, t);
    return add ? out[at[3]] + value : value;
  });
}

template <class T, class F>
struct Function {
  __device__ T operator()(T a, T b) const { return F::f(a, b); }
};

struct OfIntegers {
  Binary f;
  __device__ int64_t operator()(int64_t a, int64_t b) const { return binary_functions::of_integers(f, a, b); }
};

template <class T>
struct Comparison {
  Compare f;
  __device__ bool operator()(T a, T b) const {
    switch (f) {
      case Compare::eq: return a == b;
      case Compare::ne: return a != b;
      case Compare::lt: return a < b;
      case Compare::le: return a <= b;
      case Compare::gt: return a > b;
      case Compare::ge: return a >= b;
      case Compare::logical_and: return a && b;
      case Compare::logical_or: return a || b;
      default: return bool(a) != bool(b);
    }
  }
};

}  // namespace

void binary(Binary f, const Tensor& a, const Tensor& b, const Tensor& y) {
  if (y.dtype() == i64) return apply<int64_t, int64_t>("binary", OfIntegers{f}, a, b, y);
  dispatch_floating("binary", y.dtype(), [&]<class T>() {
    binary_functions::choose<T>(f, [&]<class F>(F) { apply<T, T>("binary", Function<T, F>(), a, b, y); });
  });
}

void binary_backward(Binary f, int side, const Tensor& dy, const Tensor& a, const Tensor& b, const Tensor& dx,
                     bool add) {
  dispatch_floating("binary", dy.dtype(), [&]<class T>() {
    binary_functions::choose<T>(f, [&](auto function) { apply_gradient<T>(function, side, dy, a, b, dx, add); });
  });
}

void compare(Compare f, const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch(a.dtype(), [&]<class T>() { apply<T, bool>("compare", Comparison<T>{f}, a, b, y); });
}

}  // namespace norma::cuda
