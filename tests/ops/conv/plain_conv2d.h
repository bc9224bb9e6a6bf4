// The definition of convolution in plain loops: what the tests compare all other ways to compute it with. In f64.
#pragma once

#include "norma/ops/conv/conv2d.h"

namespace norma::test {

struct PlainConv2d {
  Tensor y, dx, dw, dbias;
};

// As many outputs as there are windows that fit, counted one by one.
inline Shape plain_conv2d_shape(const Shape& x, const Shape& weight, const Conv2dOptions& o) {
  int64_t oh = 0, ow = 0;
  while (oh * o.stride.h + (weight[1] - 1) * o.dilation.h < x[1] + o.padding.top + o.padding.bottom) ++oh;
  while (ow * o.stride.w + (weight[2] - 1) * o.dilation.w < x[2] + o.padding.left + o.padding.right) ++ow;
  return {x[0], oh, ow, weight[0]};
}

// y = conv2d(x, weight, bias) and the gradients for an upstream gradient dy, zeros without one.
inline PlainConv2d plain_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o,
                                const Tensor& dy = {}) {
  const auto doubles = [](const Tensor& t) { return t.detach().to(cpu_device).to(f64).contiguous(); };
  const Tensor in = doubles(x), w = doubles(weight);
  const int64_t ih = in.dim(1), iw = in.dim(2), c = w.dim(3), kh = w.dim(1), kw = w.dim(2);
  const Shape shape = plain_conv2d_shape(x.shape(), w.shape(), o);
  const int64_t oh = shape[1], ow = shape[2], oc = shape[3];

  const Tensor y = zeros(shape, f64), dx = zeros(in.shape(), f64), dw = zeros(w.shape(), f64), dbias = zeros({oc}, f64);
  if (bias.defined()) y.copy_from(view::expand(doubles(bias), y.shape()));
  const Tensor up = dy.defined() ? doubles(dy) : zeros(y.shape(), f64);
  const double *from = in.data<double>(), *weights = w.data<double>(), *upstream = up.data<double>();
  double *to = y.mutable_data<double>(), *to_dx = dx.mutable_data<double>(), *to_dw = dw.mutable_data<double>();
  double* to_dbias = dbias.mutable_data<double>();
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int64_t f = i % oc, ox = i / oc % ow, oy = i / oc / ow % oh, image = i / oc / ow / oh;
    to_dbias[f] += upstream[i];
    for (int64_t k = 0; k < kh * kw * c; ++k) {
      const int64_t iy = oy * o.stride.h - o.padding.top + k / c / kw * o.dilation.h;
      const int64_t ix = ox * o.stride.w - o.padding.left + k / c % kw * o.dilation.w;
      if (iy < 0 || iy >= ih || ix < 0 || ix >= iw) continue;
      const int64_t channel = f / (oc / o.groups) * c + k % c;
      const int64_t j = ((image * ih + iy) * iw + ix) * in.dim(3) + channel, tap = f * kh * kw * c + k;
      to[i] += from[j] * weights[tap];
      to_dx[j] += upstream[i] * weights[tap];
      to_dw[tap] += upstream[i] * from[j];
    }
  }
  return {y, dx, dw, dbias};
}

}  // namespace norma::test
