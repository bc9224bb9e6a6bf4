// Own kernels, not cuDNN's (cuda/pool/windows.h says why).
#include "norma/cuda/pool/windows.h"
#include "norma/cuda/sums.h"

namespace norma::cuda {
namespace {

template <class T, class Arg>
void max_forward(const PoolGeometry& g, const T* x, T* y, Arg* arg) {
  largest_of_windows("max_pool2d", g, y, arg,
                     [=, c = g.c] __device__(int64_t pixel, int64_t channel) { return x[pixel * c + channel]; });
}

// The tap of a window that is `offset` inputs after its first one; -1 between two taps.
__device__ int64_t tap_at(int64_t offset, int64_t dilation) {
  return dilation == 1 ? offset : offset % dilation == 0 ? offset / dilation : -1;
}

// dx[i] (+)= the sum of term(element of y, place of i in its window, window) over the windows that hold element i of x.
template <class T, class F>
void gather(const char* op, const PoolGeometry& g, T* dx, bool add, F term) {
  for_each(op, g.n * g.h * g.w * g.c, [=] __device__(int64_t i) {
    const int64_t ix = i / g.c % g.w, iy = i / g.c / g.w % g.h, down = iy + g.padding.h, right = ix + g.padding.w;
    const int64_t high = g.rows().reach() + 1, wide = g.columns().reach() + 1;
    const int64_t oy0 = down < high ? 0 : (down - high) / g.stride.h + 1;
    const int64_t ox0 = right < wide ? 0 : (right - wide) / g.stride.w + 1;
    T sum = add ? dx[i] : T(0);
    for (int64_t oy = oy0; oy < g.oh && oy * g.stride.h <= down; ++oy) {
      const int64_t ky = tap_at(down - oy * g.stride.h, g.dilation.h);
      for (int64_t ox = ox0; ky >= 0 && ox < g.ow && ox * g.stride.w <= right; ++ox) {
        const int64_t kx = tap_at(right - ox * g.stride.w, g.dilation.w);
        const int64_t from = ((i / g.c / g.w / g.h * g.oh + oy) * g.ow + ox) * g.c + i % g.c;
        if (kx >= 0) sum += term(from, ky * g.kernel.w + kx);
      }
    }
    dx[i] = sum;
  });
}

template <class T, class Arg>
void max_backward(const PoolGeometry& g, const T* dy, const Arg* arg, T* dx, bool add) {
  gather("max_pool2d", g, dx, add, [=] __device__(int64_t from, int64_t place) {
    return static_cast<int64_t>(arg[from]) == place ? dy[from] : T(0);
  });
}

template <class T>
void average_forward(const PoolGeometry& g, const T* x, T* y) {
  for_each("avg_pool2d", g.n * g.oh * g.ow * g.c, [=] __device__(int64_t i) {
    const Window w(g, i);
    const int64_t taps = (w.ys.end - w.ys.begin) * (w.xs.end - w.xs.begin), n = g.divisor(w.oy, w.ox);
    const auto add_up = [&](auto add) {
      for (int64_t ky = w.ys.begin; ky < w.ys.end; ++ky)
        for (int64_t kx = w.xs.begin; kx < w.xs.end; ++kx) add(x[w.pixel(g, ky, kx) * g.c + w.channel]);
    };
    Compensated<T> sum;
    if (taps <= kChunk) add_up([&](T v) { sum.add(v); });
    if (taps <= kChunk && sum.finite()) {
      const T by = static_cast<T>(n), mean = sum.high / by;
      y[i] = mean + (std::fma(-mean, by, sum.high) + sum.low) / by;
    } else {  // a large window, or one whose sum is beyond T
      double total = 0;
      add_up([&](T v) { total += v; });
      y[i] = static_cast<T>(total / static_cast<double>(n));
    }
  });
}

template <class T>
void average_backward(const PoolGeometry& g, const T* dy, T* dx, bool add) {
  gather("avg_pool2d", g, dx, add, [=] __device__(int64_t from, int64_t) {
    return dy[from] / static_cast<T>(g.divisor(from / g.c / g.ow % g.oh, from / g.c % g.ow));
  });
}

}  // namespace

void max_pool2d(PoolGeometry g, const Tensor& x, const Tensor& y, const Tensor& arg) {
  dispatch_floating("max_pool2d", x.dtype(), [&]<class T>() {
    const T* in = x.cuda_data<T>();
    T* out = y.mutable_cuda_data<T>();
    with_places(arg, [&](auto* places) { max_forward(g, in, out, places); });
  });
}

void max_pool2d_backward(PoolGeometry g, const Tensor& dy, const Tensor& arg, const Tensor& dx, bool add) {
  dispatch_floating("max_pool2d", dy.dtype(), [&]<class T>() {
    const T* d = dy.cuda_data<T>();
    T* out = dx.mutable_cuda_data<T>();
    if (arg.dtype() == u8) max_backward(g, d, arg.cuda_data<uint8_t>(), out, add);
    else max_backward(g, d, arg.cuda_data<int64_t>(), out, add);
  });
}

void avg_pool2d(PoolGeometry g, const Tensor& x, const Tensor& y) {
  dispatch_floating("avg_pool2d", x.dtype(),
                    [&]<class T>() { average_forward(g, x.cuda_data<T>(), y.mutable_cuda_data<T>()); });
}

void avg_pool2d_backward(PoolGeometry g, const Tensor& dy, const Tensor& dx, bool add) {
  dispatch_floating("avg_pool2d", dy.dtype(),
                    [&]<class T>() { average_backward(g, dy.cuda_data<T>(), dx.mutable_cuda_data<T>(), add); });
}

}  // namespace norma::cuda
