#include <limits>

#include "norma/cuda/launch.h"
#include "norma/ops/reduce/reduce.h"

namespace norma::cuda {
namespace {

constexpr int64_t kShort = 64;  // elements that one thread reduces alone

// What of an element is reduced into output i: the element, or its deviation from high + low, or the square of that.
struct Element {
  __device__ double operator()(double x, int64_t) const { return x; }
};
template <class T>
struct Deviation {
  const T *high, *low;  // null: 0
  bool squared;
  __device__ double operator()(double x, int64_t i) const {
    const double deviation = x - (high ? high[i] : T(0)) - (low ? low[i] : T(0));
    return squared ? deviation * deviation : deviation;
  }
};

// y = f(term(x [outer, n, inner]) over n) / divisor, a thread each.
template <class T, class Y, class F, class Term>
void reduce_alone(F f, Term term, double identity, double divisor, const Shape& shape, const T* x, Y* y) {
  const int64_t n = shape[1], inner = shape[2];
  for_each("reduce", shape[0] * inner, [=] __device__(int64_t i) {
    const T* at = x + i / inner * n * inner + i % inner;
    double result = identity;
    for (int64_t k = 0; k < n; ++k) result = f(result, term(static_cast<double>(at[k * inner]), i));
    y[i] = static_cast<Y>(result / divisor);
  });
}

// Block (o, range, tile) reduces a range of n for `width` columns of inner: y [outer, ranges, inner].
template <class T, class Y, class F, class Term>
__global__ void reduce_kernel(F f, Term term, double identity, double divisor, int64_t n, int64_t inner, int64_t ranges,
                              int width, const T* x, Y* y) {
  const int64_t tiles = (inner + width - 1) / width, block = blockIdx.x, outer_range = block / tiles;
  const int64_t column = block % tiles * width + threadIdx.x % width, o = outer_range / ranges,
                range = outer_range % ranges;
  const int64_t end = n * (range + 1) / ranges;
  double result = identity;
  if (column < inner)
    for (int64_t k = n * range / ranges + threadIdx.x / width; k < end; k += kThreads / width)
      result = f(result, term(static_cast<double>(x[(o * n + k) * inner + column]), o * inner + column));
  result = reduce_block(result, width, f);
  if (static_cast<int>(threadIdx.x) < width && column < inner)
    y[outer_range * inner + column] = static_cast<Y>(result / divisor);
}

// The cut depends on the shape alone, and so do the bits.
template <class T, class Y, class F, class Term>
void reduce_in(F f, Term term, double identity, double divisor, const Shape& shape, const T* x, Y* y) {
  const int64_t outer = shape[0], n = shape[1], inner = shape[2];
  if (n <= kShort || (inner >= 32 && outer * inner >= 32768))
    return reduce_alone(f, term, identity, divisor, shape, x, y);
  const int width = width_for(inner);
  const int64_t blocks = outer * ((inner + width - 1) / width), lanes = kThreads / width;
  const int64_t ranges = std::clamp<int64_t>(n / (lanes * 8), 1, std::max<int64_t>(1024 / blocks, 1));
  const auto start = [&](auto* to, double by) {
    launch("reduce", static_cast<unsigned>(blocks * ranges), kThreads,
           reduce_kernel<T, std::remove_pointer_t<decltype(to)>, F, Term>, f, term, identity, by, n, inner, ranges,
           width, x, to);
  };
  if (ranges == 1) return start(y, divisor);
  const Tensor partial({outer, ranges, inner}, f64, Device{Device::Kind::cuda, context().device});
  start(partial.mutable_cuda_data<double>(), 1.0);
  reduce_in<double>(f, Element(), identity, divisor, partial.shape(), partial.cuda_data<double>(), y);
}

template <class T>
void find_largest(const Tensor& x, const Tensor& y) {
  const T* from = x.cuda_data<T>();
  int64_t* to = y.mutable_cuda_data<int64_t>();
  const int64_t n = x.dim(1), inner = x.dim(2);
  for_each("argmax", y.numel(), [=] __device__(int64_t i) {
    const T* at = from + i / inner * n * inner + i % inner;
    int64_t best = 0;
    for (int64_t k = 1; k < n; ++k) {
      const T value = at[k * inner], top = at[best * inner];
      if (value > top || (value != value && top == top)) best = k;
    }
    to[i] = best;
  });
}

}  // namespace

void reduce(Reduce f, double divisor, const Tensor& x, const Tensor& high, const Tensor& low, const Tensor& y) {
  if (y.numel() == 0) return;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  dispatch_floating("reduce", x.dtype(), [&]<class T>() {
    const T* from = x.cuda_data<T>();
    T* to = y.mutable_cuda_data<T>();
    const Deviation<T> deviation = {high.data_or_null<T>(), low.data_or_null<T>(), f == Reduce::squared_deviation};
    switch (f) {
      case Reduce::sum: return reduce_in(Plus(), Element(), 0.0, divisor, x.shape(), from, to);
      case Reduce::max: return reduce_in(Larger(), Element(), -infinity, divisor, x.shape(), from, to);
      case Reduce::min: return reduce_in(Smaller(), Element(), infinity, divisor, x.shape(), from, to);
      default: return reduce_in(Plus(), deviation, 0.0, divisor, x.shape(), from, to);
    }
  });
}

void argmax(const Tensor& x, const Tensor& y) {
  dispatch(x.dtype(), [&]<class T>() { find_largest<T>(x, y); });
}

}  // namespace norma::cuda
