#include <limits>

#include "norma/cuda/launch.h"
#include "norma/ops/reduce/reduce.h"

namespace norma::cuda {
namespace {

constexpr int64_t kShort = 64;  // elements that one thread reduces alone

// What of an element is reduced into output i, in double or, of integers, in int64_t: the element, or its deviation
// from high + low, or the square of that.
template <class V>
struct Element {
  using Value = V;
  __device__ V operator()(V x, int64_t) const { return x; }
};
template <class T>
struct Deviation {
  using Value = double;
  const T *high, *low;  // null: 0
  bool squared;
  __device__ double operator()(double x, int64_t i) const {
    const double deviation = x - (high ? high[i] : T(0)) - (low ? low[i] : T(0));
    return squared ? deviation * deviation : deviation;
  }
};

struct WrappingPlus {
  __device__ int64_t operator()(int64_t a, int64_t b) const {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
};

// y = f(term(x [outer, n, inner]) over n) / divisor, a thread each.
template <class T, class Y, class F, class Term>
void reduce_alone(F f, Term term, typename Term::Value identity, typename Term::Value divisor, const Shape& shape,
                  const T* x, Y* y) {
  const int64_t n = shape[1], inner = shape[2];
  for_each("reduce", shape[0] * inner, [=] __device__(int64_t i) {
    const T* at = x + i / inner * n * inner + i % inner;
    auto result = identity;
    for (int64_t k = 0; k < n; ++k) result = f(result, term(static_cast<typename Term::Value>(at[k * inner]), i));
    y[i] = static_cast<Y>(result / divisor);
  });
}

// Block (o, range, tile) reduces a range of n for `width` columns of inner: y [outer, ranges, inner].
template <class T, class Y, class F, class Term>
__global__ void reduce_kernel(F f, Term term, typename Term::Value identity, typename Term::Value divisor, int64_t n,
                              int64_t inner, int64_t ranges, int width, const T* x, Y* y) {
  const int64_t tiles = (inner + width - 1) / width, block = blockIdx.x, outer_range = block / tiles;
  const int64_t column = block % tiles * width + threadIdx.x % width, o = outer_range / ranges,
                range = outer_range % ranges;
  const int64_t end = n * (range + 1) / ranges;
  auto result = identity;
  if (column < inner)
    for (int64_t k = n * range / ranges + threadIdx.x / width; k < end; k += kThreads / width)
      result = f(result, term(static_cast<typename Term::Value>(x[(o * n + k) * inner + column]), o * inner + column));
  result = reduce_block(result, width, f);
  if (static_cast<int>(threadIdx.x) < width && column < inner)
    y[outer_range * inner + column] = static_cast<Y>(result / divisor);
}

// The cut depends on the shape alone, and so do the bits.
template <class T, class Y, class F, class Term>
void reduce_in(F f, Term term, typename Term::Value identity, typename Term::Value divisor, const Shape& shape,
               const T* x, Y* y) {
  const int64_t outer = shape[0], n = shape[1], inner = shape[2];
  if (n <= kShort || (inner >= 32 && outer * inner >= 32768))
    return reduce_alone(f, term, identity, divisor, shape, x, y);
  const int width = width_for(inner);
  const int64_t blocks = outer * ((inner + width - 1) / width), lanes = kThreads / width;
  const int64_t ranges = std::clamp<int64_t>(n / (lanes * 8), 1, std::max<int64_t>(1024 / blocks, 1));
  const auto start = [&](auto* to, typename Term::Value by) {
    launch("reduce", static_cast<unsigned>(blocks * ranges), kThreads,
           reduce_kernel<T, std::remove_pointer_t<decltype(to)>, F, Term>, f, term, identity, by, n, inner, ranges,
           width, x, to);
  };
  if (ranges == 1) return start(y, divisor);
  using V = typename Term::Value;
  const Tensor partial({outer, ranges, inner}, dtype_of<V>(), Device{Device::Kind::cuda, context().device});
  start(partial.mutable_cuda_data<V>(), V(1));
  reduce_in<V>(f, Element<V>(), identity, divisor, partial.shape(), partial.cuda_data<V>(), y);
}

// Whole numbers, for which there are not all functions.
template <class T>
void reduce_integers(Reduce f, const Tensor& x, const Tensor& y) {
  const auto run = [&](auto combine, int64_t identity) {
    reduce_in(combine, Element<int64_t>(), identity, int64_t{1}, x.shape(), x.cuda_data<T>(),
              y.mutable_cuda_data<int64_t>());
  };
  if (f == Reduce::max) run(Larger(), INT64_MIN);
  else if (f == Reduce::min) run(Smaller(), INT64_MAX);
  else run(WrappingPlus(), 0);
}

template <class T>
void reduce_floating(Reduce f, double divisor, const Tensor& x, const Tensor& high, const Tensor& low,
                     const Tensor& y) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const auto run = [&](auto combine, auto term, double identity) {
    reduce_in(combine, term, identity, divisor, x.shape(), x.cuda_data<T>(), y.mutable_cuda_data<T>());
  };
  switch (f) {
    case Reduce::sum: return run(Plus(), Element<double>(), 0);
    case Reduce::max: return run(Larger(), Element<double>(), -infinity);
    case Reduce::min: return run(Smaller(), Element<double>(), infinity);
    default:
      run(Plus(), Deviation<T>{high.data_or_null<T>(), low.data_or_null<T>(), f == Reduce::squared_deviation}, 0);
  }
}

// One thread a column where columns lie side by side, else a warp: each lane has a part of the column, and first
// reduces that.
template <class T>
void scan_columns(bool reverse, const Tensor& x, const Tensor& y) {
  const int64_t n = x.dim(1), inner = x.dim(2);
  const T* from = x.cuda_data<T>();
  T* to = y.mutable_cuda_data<T>();
  for_each_row("scan", x.dim(0) * inner, inner > 1 ? 1 : n, [=] __device__(int64_t column, const Lane& lane) {
    const int64_t start = column / inner * n * inner + column % inner;
    const auto at = [&](int64_t k) { return start + (reverse ? n - 1 - k : k) * inner; };
    const int64_t first = n * lane.index / lane.count, last = n * (lane.index + 1) / lane.count;
    double part = 0, total = 0;
    for (int64_t k = first; k < last; ++k) part += from[at(k)];
    for (int i = 0; i < lane.count; ++i) {
      const double other = __shfl_sync(lane.mask, part, static_cast<int>(threadIdx.x) % warpSize - lane.index + i);
      if (i < lane.index) total += other;
    }
    for (int64_t k = first; k < last; ++k) {
      total += from[at(k)];
      to[at(k)] = static_cast<T>(total);
    }
  });
}

// Of two places the one that comes first; negative: none.
template <class T>
struct First {
  Before<T> before;
  __device__ int64_t operator()(int64_t i, int64_t j) const { return j < 0 || (i >= 0 && before(i, j)) ? i : j; }
};

// A warp looks through the whole column for the first place, then for the first one behind that.
template <class T>
void find_first(bool largest, bool nan_first, const Tensor& x, const Tensor& y) {
  const int64_t n = x.dim(1), inner = x.dim(2), count = y.dim(2);
  const T* from = x.cuda_data<T>();
  int64_t* to = y.mutable_cuda_data<int64_t>();
  for_each_row("topk", x.dim(0) * inner, inner > 1 ? 1 : n, [=] __device__(int64_t column, const Lane& lane) {
    const First<T> first = {{from + column / inner * n * inner + column % inner, inner, largest, nan_first}};
    int64_t last = -1;
    for (int64_t k = 0; k < count; ++k) {
      int64_t best = -1;
      for (int64_t i = lane.index; i < n; i += lane.count)
        if (last < 0 || first.before(last, i)) best = first(best, i);
      last = reduce_row(best, lane, first);
      if (lane.index == 0) to[column * count + k] = last;
    }
  });
}

}  // namespace

void reduce(Reduce f, double divisor, const Tensor& x, const Tensor& high, const Tensor& low, const Tensor& y) {
  if (y.numel() == 0) return;
  dispatch(x.dtype(), [&]<class T>() {
    if constexpr (std::is_integral_v<T>) reduce_integers<T>(f, x, y);
    else reduce_floating<T>(f, divisor, x, high, low, y);
  });
}

void scan(bool reverse, const Tensor& x, const Tensor& y) {
  dispatch_floating("scan", x.dtype(), [&]<class T>() { scan_columns<T>(reverse, x, y); });
}

void topk(bool largest, bool nan_first, const Tensor& x, const Tensor& y) {
  dispatch(x.dtype(), [&]<class T>() { find_first<T>(largest, nan_first, x, y); });
}

}  // namespace norma::cuda
