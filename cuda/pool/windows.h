// Windows of pooling, and the largest element of each. A NaN wins and the first of equals does, as on the CPU, and the
// winners' places are kept in the same form. Not a public header.
#pragma once

#include "norma/cuda/launch.h"
#include "norma/ops/pool/pool2d.h"

namespace norma::cuda {

// The window of an element of y [n, oh, ow, c]: the taps of it that are inside of x [n, h, w, c].
struct Window {
  WindowAxis rows, columns;
  int64_t ox, oy, first, channel;  // first: the image's first pixel, of all images'
  Range ys, xs;
  __device__ Window(const PoolGeometry& g, int64_t i)
      : rows(g.rows()),
        columns(g.columns()),
        ox(i / g.c % g.ow),
        oy(i / g.c / g.ow % g.oh),
        first(i / g.c / g.ow / g.oh * g.h * g.w),
        channel(i % g.c),
        ys(rows.taps_of(oy, g.h)),
        xs(columns.taps_of(ox, g.w)) {}
  // Which pixel of x tap (ky, kx) is.
  __device__ int64_t pixel(const PoolGeometry& g, int64_t ky, int64_t kx) const {
    return first + rows.input(oy, ky) * g.w + columns.input(ox, kx);
  }
};

// y [n, oh, ow, c]: the largest of value(pixel, channel) in each window; arg, if not null: its tap.
template <class T, class Arg, class Value>
void largest_of_windows(const char* op, const PoolGeometry& g, T* y, Arg* arg, Value value) {
  for_each(op, g.n * g.oh * g.ow * g.c, [=] __device__(int64_t i) {
    const Window w(g, i);
    int64_t winner = w.ys.begin * g.kernel.w + w.xs.begin;
    T best = -std::numeric_limits<T>::infinity();
    for (int64_t ky = w.ys.begin; ky < w.ys.end; ++ky)
      for (int64_t kx = w.xs.begin; kx < w.xs.end; ++kx) {
        const T next = value(w.pixel(g, ky, kx), w.channel);
        if (next > best || next != next) best = next, winner = ky * g.kernel.w + kx;
      }
    y[i] = best;
    if (arg) arg[i] = static_cast<Arg>(winner);
  });
}

// f(places): those of `arg`, which is undefined or has one of two types, as a pointer.
template <class F>
void with_places(const Tensor& arg, F&& f) {
  if (!arg.defined()) f(static_cast<uint8_t*>(nullptr));
  else if (arg.dtype() == u8) f(arg.mutable_cuda_data<uint8_t>());
  else f(arg.mutable_cuda_data<int64_t>());
}

}  // namespace norma::cuda
