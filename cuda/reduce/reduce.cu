#include <limits>

#include "norma/cuda/sums.h"
#include "norma/ops/reduce/reduce.h"

namespace norma::cuda {
namespace {

constexpr int64_t kShort = 64;  // elements that one thread reduces alone

// How the elements x(k) for k = begin, begin + step, ... below end are reduced into output i. Value: of the result.
template <class V, class F>
struct Fold {
  using Value = V;
  V identity;
  template <class X>
  __device__ V operator()(int64_t begin, int64_t end, int64_t step, int64_t, const X& x) const {
    V result = identity;
    for (int64_t k = begin; k < end; k += step) result = F()(result, static_cast<V>(x(k)));
    return result;
  }
};
template <class T>
struct Total {
  using Value = double;
  double identity;
  template <class X>
  __device__ double operator()(int64_t begin, int64_t end, int64_t step, int64_t, const X& x) const {
    return sum_of<T>(begin, end, step, 1, [&](int64_t k, T by) { return x(k) * by; });
  }
};
// Of the deviations from high + low, or of their squares.
template <class T>
struct Deviations {
  using Value = double;
  double identity;
  const T *high, *low;  // null: 0
  bool squared;
  template <class X>
  __device__ double operator()(int64_t begin, int64_t end, int64_t step, int64_t i, const X& x) const {
    const T from_high = high ? high[i] : T(0), from_low = low ? low[i] : T(0);
    return sum_of<T>(begin, end, step, squared ? 2 : 1, [&](int64_t k, T by) {
      const T deviation = x(k) * by - from_high * by - from_low * by;
      return Factors<T>{deviation, squared ? deviation : T(1)};
    });
  }
};

struct WrappingPlus {
  __device__ int64_t operator()(int64_t a, int64_t b) const {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
};

// y = part(x [outer, n, inner] over n) / divisor, a thread each.
template <class T, class Y, class Part>
void reduce_alone(Part part, typename Part::Value divisor, const Shape& shape, const T* x, Y* y) {
  const int64_t n = shape[1], inner = shape[2];
  for_each("reduce", shape[0] * inner, [=] __device__(int64_t i) {
    const T* at = x + i / inner * n * inner + i % inner;
    y[i] = static_cast<Y>(part(0, n, 1, i, [=](int64_t k) { return at[k * inner]; }) / divisor);
  });
}

// Block (o, range, tile) reduces a range of n for `width` columns of inner: y [outer, ranges, inner].
template <class T, class Y, class F, class Part>
__global__ void reduce_kernel(F f, Part part, typename Part::Value divisor, int64_t n, int64_t inner, int64_t ranges,
                              int width, const T* x, Y* y) {
  const int64_t tiles = (inner + width - 1) / width, block = blockIdx.x, outer_range = block / tiles;
  const int64_t column = block % tiles * width + threadIdx.x % width, o = outer_range / ranges,
                range = outer_range % ranges;
  const T* at = x + o * n * inner + column;
  auto result = part.identity;
  if (column < inner)
    result = part(n * range / ranges + threadIdx.x / width, n * (range + 1) / ranges, kThreads / width,
                  o * inner + column, [=](int64_t k) { return at[k * inner]; });
  result = reduce_block(result, width, f);
  if (static_cast<int>(threadIdx.x) < width && column < inner)
    y[outer_range * inner + column] = static_cast<Y>(result / divisor);
}

// What several parts made is combined by f. The cut depends on the shape alone, and so do the bits.
template <class T, class Y, class F, class Part>
void reduce_in(F f, Part part, typename Part::Value divisor, const Shape& shape, const T* x, Y* y) {
  using V = typename Part::Value;
  const int64_t outer = shape[0], n = shape[1], inner = shape[2];
  if (n <= kShort || (inner >= 32 && outer * inner >= 32768)) return reduce_alone(part, divisor, shape, x, y);
  const int width = width_for(inner);
  const int64_t blocks = outer * ((inner + width - 1) / width), lanes = kThreads / width;
  const int64_t ranges = std::clamp<int64_t>(n / (lanes * 8), 1, std::max<int64_t>(1024 / blocks, 1));
  const auto start = [&](auto* to, V by) {
    launch("reduce", static_cast<unsigned>(blocks * ranges), kThreads,
           reduce_kernel<T, std::remove_pointer_t<decltype(to)>, F, Part>, f, part, by, n, inner, ranges, width, x, to);
  };
  if (ranges == 1) return start(y, divisor);
  const Tensor partial({outer, ranges, inner}, dtype_of<V>(), Device{Device::Kind::cuda, context().device});
  start(partial.mutable_cuda_data<V>(), V(1));
  reduce_in(f, Fold<V, F>{part.identity}, divisor, partial.shape(), partial.cuda_data<V>(), y);
}

// Whole numbers, for which there are not all functions.
template <class T>
void reduce_integers(Reduce f, const Tensor& x, const Tensor& y) {
  const auto run = [&]<class F>(F combine, int64_t identity) {
    reduce_in(combine, Fold<int64_t, F>{identity}, int64_t{1}, x.shape(), x.cuda_data<T>(),
              y.mutable_cuda_data<int64_t>());
  };
  if (f == Reduce::max) run(Larger(), INT64_MIN);
  else if (f == Reduce::min) run(Smaller(), INT64_MAX);
  else run(WrappingPlus(), 0);
}

template <class T>
void reduce_floating(Reduce f, double divisor, const Tensor& x, const Tensor& high, const Tensor& low,
                     const Tensor& y) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const auto run = [&]<class F, class Part>(F combine, const Part& part, typename Part::Value by) {
    reduce_in(combine, part, by, x.shape(), x.cuda_data<T>(), y.mutable_cuda_data<T>());
  };
  switch (f) {
    case Reduce::sum: return run(Plus(), Total<T>{0}, divisor);
    case Reduce::max: return run(Larger(), Fold<T, Larger>{-infinity}, T(1));
    case Reduce::min: return run(Smaller(), Fold<T, Smaller>{infinity}, T(1));
    default: {
      const bool squared = f == Reduce::squared_deviation;
      run(Plus(), Deviations<T>{0, high.data_or_null<T>(), low.data_or_null<T>(), squared}, divisor);
    }
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
    const double part = sum_of<T>(first, last, 1, 1, [&](int64_t k, T by) { return from[at(k)] * by; });
    double total = 0;
    for (int i = 0; i < lane.count; ++i) {
      const double other = __shfl_sync(lane.mask, part, static_cast<int>(threadIdx.x) % warpSize - lane.index + i);
      if (i < lane.index) total += other;
    }
    constexpr T most = std::numeric_limits<T>::max() / 4;
    for (int64_t begin = first; begin < last; begin += kChunk) {
      const int64_t end = begin + kChunk < last ? begin + kChunk : last;
      const T high = static_cast<T>(total), low = static_cast<T>(total - high);
      Compensated<T> chunk;
      bool inside = std::abs(total) < most;
      for (int64_t k = begin; k < end && inside; ++k) {
        chunk.add(from[at(k)]);
        Compensated<T> sum = chunk;
        sum.add(high);
        sum.low += low;
        to[at(k)] = sum.high + sum.low;
        inside = sum.finite();
      }
      if (inside) total += chunk.value();
      for (int64_t k = begin; k < end && !inside; ++k) {  // beyond T, from where a sum may come back
        total += from[at(k)];
        to[at(k)] = static_cast<T>(total);
      }
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
