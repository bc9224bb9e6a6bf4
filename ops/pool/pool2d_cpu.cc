// The loops of ops/pool/pool2d.h over windows, a vector of channels at a time.
#include "norma/core/parallel.h"
#include "norma/core/simd/vectors.h"
#include "norma/ops/pool/pool2d.h"

NORMA_SIMD_BEGIN
namespace {

// Rows of `length` elements that are worth waking a thread, with `taps` visits an element.
int64_t grain(int64_t length, int64_t taps) { return 16384 / std::max<int64_t>(length * taps, 1) + 1; }

constexpr int64_t kTaps = 4;  // of a window that are looked at together

// An integer as wide as T: comparisons of the one choose between the other without leaving the vector unit.
template <class T>
using Place = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

// The largest of four pixels, beside `best` unless they are the first: best and, where wanted, its place in the window,
// a channel each. A NaN wins and stays.
template <bool first, bool with_winner, class T>
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

// The pixels of a window that are inside of x, and their places in it. The last one comes again up to a multiple of
// kTaps.
template <class T>
struct Window {
  int64_t oy, ox, count;
  const T* const* taps;
  const int64_t* places;
};

// Calls f(window, offset of its pixel in y, memory for a Number a channel) for all windows.
template <class Number, class T, class F>
void for_windows(const PoolGeometry& g, const T* x, F&& f) {
  const int64_t size = std::min(g.kernel.h, g.h) * std::min(g.kernel.w, g.w), step = g.dilation.w * g.c;
  parallel_for(g.n * g.oh, grain(g.ow * g.c, size), [&](int64_t begin, int64_t end) {
    PoolVector<Number> numbers(g.c);
    PoolVector<const T*> taps(size + kTaps - 1);
    PoolVector<int64_t> places(taps.size());
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / g.oh, oy = row % g.oh;
      const auto ys = g.rows().taps_of(oy, g.h);
      for (int64_t ox = 0; ox < g.ow; ++ox) {
        const auto xs = g.columns().taps_of(ox, g.w);
        int64_t count = 0;
        for (int64_t ky = ys.begin; ky < ys.end; ++ky) {
          const T* tap = x + ((image * g.h + g.rows().input(oy, ky)) * g.w + g.columns().input(ox, xs.begin)) * g.c;
          for (int64_t kx = xs.begin; kx < xs.end; ++kx, ++count, tap += step) {
            taps[count] = tap;
            places[count] = ky * g.kernel.w + kx;
          }
        }
        std::fill_n(taps.begin() + count, kTaps - 1, count > 0 ? taps[count - 1] : nullptr);
        std::fill_n(places.begin() + count, kTaps - 1, count > 0 ? places[count - 1] : 0);
        f(Window<T>{oy, ox, count, taps.data(), places.data()}, (row * g.ow + ox) * g.c, numbers.data());
      }
    }
  });
}

template <bool with_winner, class T, class Arg>
void max_forward(const PoolGeometry& g, const T* x, T* y, Arg* arg) {
  for_windows<Place<T>>(g, x, [&](const Window<T>& window, int64_t to, Place<T>* winner) {
    if (window.count == 0) std::fill_n(y + to, g.c, -std::numeric_limits<T>::infinity());
    else max_of_taps<true, with_winner>(window.taps, window.places, g.c, y + to, winner);
    for (int64_t k = kTaps; k < window.count; k += kTaps)
      max_of_taps<false, with_winner>(window.taps + k, window.places + k, g.c, y + to, winner);
    if constexpr (with_winner) std::copy_n(winner, g.c, arg + to);
  });
}

// Calls f(to, from, oy, ox, place) for every input pixel of a row and every window it is in, row by row: `to` is the
// pixel of dx, `from` the offset of the window's output pixel, `place` that of the input in it. Rows of dx belong to
// one thread.
template <class T, class F>
void gather(const PoolGeometry& g, T* dx, bool add, F&& f) {
  const int64_t step = g.dilation.w * g.c;
  parallel_each(g.n * g.h, grain(g.w * g.c, 2), [&](int64_t row) {
    const int64_t image = row / g.h, iy = row % g.h;
    const auto oys = g.rows().outputs_of(iy, iy, g.oh);
    if (!add) std::fill_n(dx + row * g.w * g.c, g.w * g.c, T(0));
    for (int64_t oy = oys.begin; oy < oys.end; ++oy) {
      const int64_t down = iy - g.rows().input(oy, 0), ky = down / g.dilation.h;
      if (ky * g.dilation.h != down) continue;  // between two taps
      for (int64_t ox = 0; ox < g.ow; ++ox) {
        const auto xs = g.columns().taps_of(ox, g.w);
        const int64_t from = ((image * g.oh + oy) * g.ow + ox) * g.c;
        T* to = dx + (row * g.w + g.columns().input(ox, xs.begin)) * g.c;
        for (int64_t kx = xs.begin; kx < xs.end; ++kx, to += step) f(to, from, oy, ox, ky * g.kernel.w + kx);
      }
    }
  });
}

template <class T, class Arg>
void max_backward(const PoolGeometry& g, const T* dy, const Arg* arg, T* dx, bool add) {
  gather(g, dx, add, [&](T* __restrict to, int64_t from, int64_t, int64_t, int64_t place) {
    const T* __restrict d = dy + from;
    const Arg* __restrict winner = arg + from;
    const auto here = static_cast<Place<T>>(place);
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

void avg_pool2d(PoolGeometry g, const Tensor& x, const Tensor& y) {
  dispatch_floating("avg_pool2d", x.dtype(), [&]<class T>() {
    T* out = y.mutable_data<T>();
    for_windows<double>(g, x.data<T>(), [&](const Window<T>& window, int64_t at, double* __restrict sum) {
      std::fill_n(sum, g.c, 0.0);
      for (int64_t k = 0; k < window.count; ++k) {
        const T* __restrict from = window.taps[k];
        for (int64_t c = 0; c < g.c; ++c) sum[c] += from[c];
      }
      const double share = 1.0 / static_cast<double>(g.divisor(window.oy, window.ox));
      T* __restrict to = out + at;
      for (int64_t c = 0; c < g.c; ++c) to[c] = static_cast<T>(sum[c] * share);
    });
  });
}

void avg_pool2d_backward(PoolGeometry g, const Tensor& dy, const Tensor& dx, bool add) {
  dispatch_floating("avg_pool2d", dy.dtype(), [&]<class T>() {
    const T* d = dy.data<T>();
    gather(g, dx.mutable_data<T>(), add, [&](T* __restrict to, int64_t from, int64_t oy, int64_t ox, int64_t) {
      const T* __restrict in = d + from;
      const T share = T(1) / static_cast<T>(g.divisor(oy, ox));
      for (int64_t c = 0; c < g.c; ++c) to[c] += in[c] * share;
    });
  });
}

NORMA_SIMD_END
