// The loops of ops/pool/pool2d.h over windows, a vector of channels at a time.
#include "norma/core/parallel.h"
#include "norma/core/simd/vectors.h"
#include "norma/ops/pool/pool2d.h"

NORMA_SIMD_BEGIN
namespace {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Along one axis: the part of output o's window that is inside of the input.
Range window(int64_t o, int64_t kernel, int64_t stride, int64_t padding, int64_t extent) {
  const int64_t start = o * stride - padding;
  return {std::max<int64_t>(start, 0), std::min(start + kernel, extent)};
}
Range window_h(const PoolGeometry& g, int64_t oy) { return window(oy, g.kernel.h, g.stride.h, g.padding.h, g.h); }
Range window_w(const PoolGeometry& g, int64_t ox) { return window(ox, g.kernel.w, g.stride.w, g.padding.w, g.w); }

// The output rows whose windows cover input row iy.
Range covering(const PoolGeometry& g, int64_t iy) {
  const int64_t at = iy + g.padding.h;
  return {at < g.kernel.h ? 0 : (at - g.kernel.h) / g.stride.h + 1, std::min(at / g.stride.h + 1, g.oh)};
}

// The place in the window of output (oy, ox) of input (iy, 0), so that (iy, ix) is at ix beyond it.
int64_t place(const PoolGeometry& g, int64_t oy, int64_t ox, int64_t iy) {
  return (iy - oy * g.stride.h + g.padding.h) * g.kernel.w - ox * g.stride.w + g.padding.w;
}

double reciprocal_count(const PoolGeometry& g, bool count_include_pad, int64_t oy, int64_t ox) {
  if (count_include_pad) return 1.0 / static_cast<double>(g.kernel.h * g.kernel.w);
  return 1.0 / static_cast<double>(window_h(g, oy).size() * window_w(g, ox).size());
}

// Calls f(first row, last row + 1) on several threads: rows of `length` elements, `taps` visits an element.
template <class F>
void for_rows(int64_t rows, int64_t length, int64_t taps, F&& f) {
  parallel_for(rows, 16384 / std::max<int64_t>(length * taps, 1) + 1, f);
}

// An integer as wide as T: comparisons of the one choose between the other without leaving the vector unit.
template <class T>
using Place = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

// The largest of kTaps pixels, beside `best` unless they are the first: best and, where wanted, its place in the
// window, a channel each. A NaN wins and stays.
template <int kTaps, bool first, bool with_winner, class T>
void max_of_taps(const T* const* taps, const int64_t* places, int64_t channels, T* __restrict best,
                 Place<T>* __restrict winner) {
  const T* tap[kTaps];
  Place<T> place[kTaps];
  for (int k = 0; k < kTaps; ++k) {
    tap[k] = taps[k];
    place[k] = static_cast<Place<T>>(places[k]);
  }
#pragma GCC ivdep
  for (int64_t c = 0; c < channels; ++c) {
    T value = first ? tap[0][c] : best[c];
    Place<T> at = first || !with_winner ? place[0] : winner[c];
#pragma GCC unroll 4
    for (int k = first ? 1 : 0; k < kTaps; ++k) {
      const T next = tap[k][c];
      const bool better = (next > value) | (next != next);
      value = better ? next : value;
      at = better ? place[k] : at;
    }
    best[c] = value;
    if constexpr (with_winner) winner[c] = at;
  }
}

template <bool with_winner, class T, class Arg>
void max_forward(const PoolGeometry& g, const T* x, T* y, Arg* arg) {
  for_rows(g.n * g.oh, g.ow * g.c, g.kernel.h * g.kernel.w, [&](int64_t begin, int64_t end) {
    PoolVector<Place<T>> winners(static_cast<size_t>(g.c));
    PoolVector<const T*> taps(static_cast<size_t>(g.kernel.h * g.kernel.w));
    PoolVector<int64_t> places(taps.size());
    Place<T>* winner = winners.data();
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / g.oh, oy = row % g.oh;
      const Range ys = window_h(g, oy);
      for (int64_t ox = 0; ox < g.ow; ++ox) {
        const Range xs = window_w(g, ox);
        size_t count = 0;
        for (int64_t iy = ys.begin; iy < ys.end; ++iy)
          for (int64_t ix = xs.begin; ix < xs.end; ++ix, ++count) {
            taps[count] = x + ((image * g.h + iy) * g.w + ix) * g.c;
            places[count] = place(g, oy, ox, iy) + ix;
          }
        const int64_t to = (row * g.ow + ox) * g.c;
        const auto add = [&]<int kTaps, bool first>(size_t k) {
          max_of_taps<kTaps, first, with_winner>(taps.data() + k, places.data() + k, g.c, y + to, winner);
        };
        size_t k = count >= 4 ? 4 : 1;
        if (count >= 4) add.template operator()<4, true>(0);
        else add.template operator()<1, true>(0);
        for (; k + 4 <= count; k += 4) add.template operator()<4, false>(k);
        for (; k < count; ++k) add.template operator()<1, false>(k);
        if constexpr (with_winner) std::copy_n(winner, g.c, arg + to);
      }
    }
  });
}

// Calls f(to, from, oy, ox, iy, ix) for every input pixel of a row and every window it is in, row by row: `to` is the
// pixel of dx, `from` the offset of the window's output pixel. Rows of dx belong to one thread.
template <class T, class F>
void gather(const PoolGeometry& g, T* dx, bool add, F&& f) {
  for_rows(g.n * g.h, g.w * g.c, 2, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / g.h, iy = row % g.h;
      const Range oys = covering(g, iy);
      if (!add) std::fill_n(dx + row * g.w * g.c, g.w * g.c, T(0));
      for (int64_t oy = oys.begin; oy < oys.end; ++oy) {
        for (int64_t ox = 0; ox < g.ow; ++ox) {
          const Range xs = window_w(g, ox);
          const int64_t from = ((image * g.oh + oy) * g.ow + ox) * g.c;
          for (int64_t ix = xs.begin; ix < xs.end; ++ix) f(dx + (row * g.w + ix) * g.c, from, oy, ox, iy, ix);
        }
      }
    }
  });
}

template <class T, class Arg>
void max_backward(const PoolGeometry& g, const T* dy, const Arg* arg, T* dx, bool add) {
  gather(g, dx, add, [&](T* __restrict to, int64_t from, int64_t oy, int64_t ox, int64_t iy, int64_t ix) {
    const T* __restrict d = dy + from;
    const Arg* __restrict winner = arg + from;
    const auto here = static_cast<Place<T>>(place(g, oy, ox, iy) + ix);
    for (int64_t c = 0; c < g.c; ++c) to[c] += static_cast<Place<T>>(winner[c]) == here ? d[c] : T(0);
  });
}

}  // namespace

void max_pool2d(PoolGeometry g, const Tensor& x, const Tensor& y, const Tensor& arg) {
  dispatch_floating("max_pool2d", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    if (!arg.defined()) max_forward<false>(g, in, out, static_cast<uint8_t*>(nullptr));
    else if (arg.dtype() == u8) max_forward<true>(g, in, out, arg.mutable_data<uint8_t>());
    else max_forward<true>(g, in, out, arg.mutable_data<int64_t>());
  });
}

void max_pool2d_backward(PoolGeometry g, const Tensor& dy, const Tensor& arg, const Tensor& dx, bool add) {
  dispatch_floating("max_pool2d", dy.dtype(), [&]<class T>() {
    if (arg.dtype() == i64) max_backward(g, dy.data<T>(), arg.data<int64_t>(), dx.mutable_data<T>(), add);
    else max_backward(g, dy.data<T>(), arg.data<uint8_t>(), dx.mutable_data<T>(), add);
  });
}

void avg_pool2d(PoolGeometry g, bool count_include_pad, const Tensor& x, const Tensor& y) {
  dispatch_floating("avg_pool2d", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    for_rows(g.n * g.oh, g.ow * g.c, g.kernel.h * g.kernel.w, [&](int64_t begin, int64_t end) {
      PoolVector<double> sums(static_cast<size_t>(g.c));
      double* __restrict sum = sums.data();
      for (int64_t row = begin; row < end; ++row) {
        const int64_t image = row / g.oh, oy = row % g.oh;
        const Range ys = window_h(g, oy);
        for (int64_t ox = 0; ox < g.ow; ++ox) {
          const Range xs = window_w(g, ox);
          std::fill_n(sum, g.c, 0.0);
          for (int64_t iy = ys.begin; iy < ys.end; ++iy) {
            for (int64_t ix = xs.begin; ix < xs.end; ++ix) {
              const T* __restrict from = in + ((image * g.h + iy) * g.w + ix) * g.c;
              for (int64_t c = 0; c < g.c; ++c) sum[c] += from[c];
            }
          }
          const double scale = reciprocal_count(g, count_include_pad, oy, ox);
          T* __restrict to = out + (row * g.ow + ox) * g.c;
          for (int64_t c = 0; c < g.c; ++c) to[c] = static_cast<T>(sum[c] * scale);
        }
      }
    });
  });
}

void avg_pool2d_backward(PoolGeometry g, bool count_include_pad, const Tensor& dy, const Tensor& dx, bool add) {
  dispatch_floating("avg_pool2d", dy.dtype(), [&]<class T>() {
    const T* d = dy.data<T>();
    gather(g, dx.mutable_data<T>(), add, [&](T* __restrict to, int64_t from, int64_t oy, int64_t ox, int64_t, int64_t) {
      const T* __restrict in = d + from;
      const T scale = static_cast<T>(reciprocal_count(g, count_include_pad, oy, ox));
      for (int64_t c = 0; c < g.c; ++c) to[c] += in[c] * scale;
    });
  });
}

NORMA_SIMD_END
