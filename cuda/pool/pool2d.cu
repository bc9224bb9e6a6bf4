// Own kernels, not cuDNN's: a NaN wins and the first of equals does, as on the CPU, and the winners' places are kept in
// the same form.
#include "norma/cuda/launch.h"
#include "norma/ops/pool/pool2d.h"

namespace norma::cuda {
namespace {

// The window of an element of y [n, oh, ow, c]: the part of it that is inside of x [n, h, w, c].
struct Window {
  Range ys, xs;    // rows and columns of x
  int64_t first;   // x[first + (iy * w + ix) * c] is the element of (iy, ix)
  int64_t corner;  // (iy * kernel.w + ix) - corner is the place of (iy, ix) in the window
  __device__ Window(const PoolGeometry& g, int64_t i) {
    const int64_t ox = i / g.c % g.ow, oy = i / g.c / g.ow % g.oh;
    ys = g.rows().inputs_of(oy, g.h), xs = g.columns().inputs_of(ox, g.w);
    first = i / g.c / g.ow / g.oh * g.h * g.w * g.c + i % g.c;
    corner = g.rows().input(oy, 0) * g.kernel.w + g.columns().input(ox, 0);
  }
};

template <class T, class Arg>
void max_forward(const PoolGeometry& g, const T* x, T* y, Arg* arg) {
  for_each("max_pool2d", g.n * g.oh * g.ow * g.c, [=] __device__(int64_t i) {
    const Window w(g, i);
    int64_t winner = w.ys.begin * g.kernel.w + w.xs.begin;
    T best = x[w.first + (w.ys.begin * g.w + w.xs.begin) * g.c];
    for (int64_t iy = w.ys.begin; iy < w.ys.end; ++iy)
      for (int64_t ix = w.xs.begin; ix < w.xs.end; ++ix) {
        const T next = x[w.first + (iy * g.w + ix) * g.c];
        if (next > best || next != next) best = next, winner = iy * g.kernel.w + ix;
      }
    y[i] = best;
    if (arg) arg[i] = static_cast<Arg>(winner - w.corner);
  });
}

// dx[i] (+)= the sum of term(element of y, place of i in its window, window) over the windows that hold element i of x.
template <class T, class F>
void gather(const char* op, const PoolGeometry& g, T* dx, bool add, F term) {
  for_each(op, g.n * g.h * g.w * g.c, [=] __device__(int64_t i) {
    const int64_t ix = i / g.c % g.w, iy = i / g.c / g.w % g.h, down = iy + g.padding.h, right = ix + g.padding.w;
    const int64_t oy0 = down < g.kernel.h ? 0 : (down - g.kernel.h) / g.stride.h + 1;
    const int64_t ox0 = right < g.kernel.w ? 0 : (right - g.kernel.w) / g.stride.w + 1;
    T sum = add ? dx[i] : T(0);
    for (int64_t oy = oy0; oy < g.oh && oy * g.stride.h <= down; ++oy)
      for (int64_t ox = ox0; ox < g.ow && ox * g.stride.w <= right; ++ox) {
        const int64_t from = ((i / g.c / g.w / g.h * g.oh + oy) * g.ow + ox) * g.c + i % g.c;
        sum += term(from, (down - oy * g.stride.h) * g.kernel.w + right - ox * g.stride.w);
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
void average_forward(const PoolGeometry& g, PoolDivisor divisor, const T* x, T* y, bool add) {
  for_each("avg_pool2d", g.n * g.oh * g.ow * g.c, [=] __device__(int64_t i) {
    const Window w(g, i);
    double sum = 0;
    for (int64_t iy = w.ys.begin; iy < w.ys.end; ++iy)
      for (int64_t ix = w.xs.begin; ix < w.xs.end; ++ix) sum += x[w.first + (iy * g.w + ix) * g.c];
    const double mean = sum * g.share(divisor, i / g.c / g.ow % g.oh, i / g.c % g.ow);
    y[i] = static_cast<T>(add ? y[i] + mean : mean);
  });
}

template <class T>
void average_backward(const PoolGeometry& g, PoolDivisor divisor, const T* dy, T* dx, bool add) {
  gather("avg_pool2d", g, dx, add, [=] __device__(int64_t from, int64_t) {
    return dy[from] * static_cast<T>(g.share(divisor, from / g.c / g.ow % g.oh, from / g.c % g.ow));
  });
}

}  // namespace

void max_pool2d(PoolGeometry g, const Tensor& x, const Tensor& y, const Tensor& arg) {
  dispatch_floating("max_pool2d", x.dtype(), [&]<class T>() {
    const T* in = x.cuda_data<T>();
    T* out = y.mutable_cuda_data<T>();
    if (!arg.defined()) max_forward(g, in, out, static_cast<uint8_t*>(nullptr));
    else if (arg.dtype() == u8) max_forward(g, in, out, arg.mutable_cuda_data<uint8_t>());
    else max_forward(g, in, out, arg.mutable_cuda_data<int64_t>());
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

void avg_pool2d(PoolGeometry g, PoolDivisor divisor, const Tensor& x, const Tensor& y, bool add) {
  dispatch_floating("avg_pool2d", x.dtype(),
                    [&]<class T>() { average_forward(g, divisor, x.cuda_data<T>(), y.mutable_cuda_data<T>(), add); });
}

void avg_pool2d_backward(PoolGeometry g, PoolDivisor divisor, const Tensor& dy, const Tensor& dx, bool add) {
  dispatch_floating("avg_pool2d", dy.dtype(), [&]<class T>() {
    average_backward(g, divisor, dy.cuda_data<T>(), dx.mutable_cuda_data<T>(), add);
  });
}

}  // namespace norma::cuda
