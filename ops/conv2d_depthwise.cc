// Weights are held as [taps, C] here, so that every inner loop runs over neighbouring channels.
#include "norma/ops/conv2d_depthwise.h"

#include "norma/core/memory.h"
#include "norma/core/parallel.h"

namespace norma::cpu {
namespace {

// Calls f(tap, offset in x, offset in y) for each pixel of output row `row` and each tap that reaches a pixel of x.
template <class F>
void for_taps(const ConvGeometry& g, int64_t row, F&& f) {
  const int64_t image = row / g.oh, top = row % g.oh * g.stride.h - g.padding.h;
  for (int64_t ky = 0; ky < g.kh; ++ky) {
    const int64_t iy = top + ky * g.dilation.h;
    if (iy < 0 || iy >= g.h) continue;
    for (int64_t kx = 0; kx < g.kw; ++kx) {
      for (int64_t ox = 0; ox < g.ow; ++ox) {
        const int64_t ix = ox * g.stride.w - g.padding.w + kx * g.dilation.w;
        if (ix >= 0 && ix < g.w) f(ky * g.kw + kx, ((image * g.h + iy) * g.w + ix) * g.c, (row * g.ow + ox) * g.c);
      }
    }
  }
}

template <class T>
PoolVector<T> taps_first(const ConvGeometry& g, const T* weight) {
  const int64_t taps = g.kh * g.kw;
  PoolVector<T> result(static_cast<size_t>(taps * g.c));
  for (int64_t tap = 0; tap < taps; ++tap)
    for (int64_t c = 0; c < g.c; ++c) result[static_cast<size_t>(tap * g.c + c)] = weight[c * taps + tap];
  return result;
}

// to += a * b
template <class T>
void add_product(int64_t n, T* __restrict to, const T* __restrict a, const T* __restrict b) {
  for (int64_t i = 0; i < n; ++i) to[i] += a[i] * b[i];
}

int64_t grain(const ConvGeometry& g) { return 16384 / std::max<int64_t>(1, g.ow * g.c * g.kh * g.kw) + 1; }

}  // namespace

template <class T>
void Depthwise<T>::forward(const ConvGeometry& g, const T* x, const T* weight, const T* bias, T* y) {
  const PoolVector<T> w = taps_first(g, weight);
  parallel_for(g.n * g.oh, grain(g), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      T* to = y + row * g.ow * g.c;
      for (int64_t ox = 0; ox < g.ow; ++ox, to += g.c) bias ? std::copy_n(bias, g.c, to) : std::fill_n(to, g.c, T(0));
      for_taps(g, row,
               [&](int64_t tap, int64_t in, int64_t out) { add_product(g.c, y + out, x + in, w.data() + tap * g.c); });
    }
  });
}

template <class T>
void Depthwise<T>::data(const ConvGeometry& g, const T* dy, const T* weight, T* dx, bool add) {
  const PoolVector<T> w = taps_first(g, weight);
  parallel_for(g.n, 1, [&](int64_t begin, int64_t end) {  // windows overlap within an image
    if (!add) std::fill(dx + begin * g.h * g.w * g.c, dx + end * g.h * g.w * g.c, T(0));
    for (int64_t row = begin * g.oh; row < end * g.oh; ++row)
      for_taps(g, row, [&](int64_t tap, int64_t in, int64_t out) {
        add_product(g.c, dx + in, dy + out, w.data() + tap * g.c);
      });
  });
}

template <class T>
void Depthwise<T>::weights(const ConvGeometry& g, const T* x, const T* dy, T* dw, bool add) {
  const int64_t taps = g.kh * g.kw, size = taps * g.c, rows = g.n * g.oh;
  const int slots = slot_count(rows, grain(g), 16);
  const Tensor buffer = zeros({slots, size}, f64);
  double* const partial = buffer.mutable_data<double>();
  parallel_slots(slots, [&](int slot) {
    PoolVector<T> sums(static_cast<size_t>(size));  // of a row
    double* to = partial + slot * size;
    for (int64_t row = rows * slot / slots; row < rows * (slot + 1) / slots; ++row) {
      std::fill(sums.begin(), sums.end(), T(0));
      for_taps(g, row, [&](int64_t tap, int64_t in, int64_t out) {
        add_product(g.c, sums.data() + tap * g.c, x + in, dy + out);
      });
      for (int64_t i = 0; i < size; ++i) to[i] += sums[static_cast<size_t>(i)];
    }
  });
  for (int64_t c = 0; c < g.c; ++c) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      T& to = dw[c * taps + tap];
      double sum = add ? to : 0;
      for (int slot = 0; slot < slots; ++slot) sum += partial[slot * size + tap * g.c + c];
      to = static_cast<T>(sum);
    }
  }
}

template struct Depthwise<float>;
template struct Depthwise<double>;

}  // namespace norma::cpu
