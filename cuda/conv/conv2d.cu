// Convolution: cuDNN's in f32, plain kernels in f64.
#include "norma/cuda/conv/cudnn.h"
#include "norma/cuda/launch.h"
#include "norma/ops/conv/conv2d.h"

namespace norma::cuda {
namespace {

void forward(const ConvGeometry& g, const double* x, const double* weight, const double* bias, double* y) {
  const int64_t channels = g.c / g.groups, filters = g.oc / g.groups;
  for_each("conv2d", g.n * g.oh * g.ow * g.oc, [=] __device__(int64_t i) {
    const int64_t o = i % g.oc, ox = i / g.oc % g.ow, oy = i / g.oc / g.ow % g.oh, n = i / g.oc / g.ow / g.oh;
    double sum = bias ? bias[o] : 0;
    for (int64_t ky = 0; ky < g.kh; ++ky)
      for (int64_t kx = 0; kx < g.kw; ++kx) {
        const int64_t iy = g.rows().input(oy, ky), ix = g.columns().input(ox, kx);
        if (iy < 0 || iy >= g.h || ix < 0 || ix >= g.w) continue;
        const double* from = x + ((n * g.h + iy) * g.w + ix) * g.c + o / filters * channels;
        const double* w = weight + ((o * g.kh + ky) * g.kw + kx) * channels;
        for (int64_t c = 0; c < channels; ++c) sum += from[c] * w[c];
      }
    y[i] = sum;
  });
}

void backward_input(const ConvGeometry& g, const double* dy, const double* weight, double* dx, bool add) {
  const int64_t channels = g.c / g.groups, filters = g.oc / g.groups;
  for_each("conv2d", g.n * g.h * g.w * g.c, [=] __device__(int64_t i) {
    const int64_t c = i % g.c, ix = i / g.c % g.w, iy = i / g.c / g.w % g.h, n = i / g.c / g.w / g.h;
    double sum = add ? dx[i] : 0;
    for (int64_t ky = 0; ky < g.kh; ++ky)
      for (int64_t kx = 0; kx < g.kw; ++kx) {
        const int64_t down = iy + g.padding.h - ky * g.dilation.h, right = ix + g.padding.w - kx * g.dilation.w;
        const int64_t oy = down / g.stride.h, ox = right / g.stride.w;
        if (down < 0 || right < 0 || down % g.stride.h != 0 || right % g.stride.w != 0 || oy >= g.oh || ox >= g.ow)
          continue;
        for (int64_t f = 0; f < filters; ++f) {
          const int64_t o = c / channels * filters + f;
          sum += dy[((n * g.oh + oy) * g.ow + ox) * g.oc + o] *
                 weight[((o * g.kh + ky) * g.kw + kx) * channels + c % channels];
        }
      }
    dx[i] = sum;
  });
}

void backward_weight(const ConvGeometry& g, const double* x, const double* dy, double* dw, bool add) {
  const int64_t channels = g.c / g.groups, filters = g.oc / g.groups;
  for_each("conv2d", g.oc * g.kh * g.kw * channels, [=] __device__(int64_t i) {
    const int64_t kx = i / channels % g.kw, ky = i / channels / g.kw % g.kh, o = i / channels / g.kw / g.kh,
                  c = o / filters * channels + i % channels;
    double sum = add ? dw[i] : 0;
    for (int64_t pixel = 0; pixel < g.n * g.oh * g.ow; ++pixel) {
      const int64_t n = pixel / g.ow / g.oh, iy = g.rows().input(pixel / g.ow % g.oh, ky),
                    ix = g.columns().input(pixel % g.ow, kx);
      if (iy >= 0 && iy < g.h && ix >= 0 && ix < g.w)
        sum += dy[pixel * g.oc + o] * x[((n * g.h + iy) * g.w + ix) * g.c + c];
    }
    dw[i] = sum;
  });
}

void add_bias(const float* bias, int64_t channels, const Tensor& y) {
  float* out = y.mutable_cuda_data<float>();
  for_each("conv2d", y.numel(), [=] __device__(int64_t i) { out[i] += bias[i % channels]; });
}

// A gradient that is to be added goes through memory of its own: few of cuDNN's engines can add.
template <class F>
void accumulate(const Tensor& target, bool add, F&& make) {
  const Tensor own = add ? empty_like(target) : target;
  make(own.mutable_cuda_data<float>());
  if (add) backend(target.device()).add_into(target, own);
}

}  // namespace

void conv2d_forward(ConvGeometry g, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y) {
  if (y.numel() == 0) return;
  if (y.dtype() == f64)
    return forward(g, x.cuda_data<double>(), weight.cuda_data<double>(), bias.data_or_null<double>(),
                   y.mutable_cuda_data<double>());
  const float* shift = bias.data_or_null<float>();
  const bool added = conv2d_cudnn(ConvPass::forward, g, x.cuda_data<float>(), weight.cuda_data<float>(),
                                  y.mutable_cuda_data<float>(), shift);
  if (shift && !added) add_bias(shift, g.oc, y);
}

void conv2d_backward_input(ConvGeometry g, const Tensor& dy, const Tensor& weight, const Tensor& dx, bool add) {
  if (dx.numel() == 0) return;
  if (dx.dtype() == f64)
    return backward_input(g, dy.cuda_data<double>(), weight.cuda_data<double>(), dx.mutable_cuda_data<double>(), add);
  accumulate(dx, add, [&](float* to) {
    conv2d_cudnn(ConvPass::backward_input, g, to, weight.cuda_data<float>(), dy.cuda_data<float>());
  });
}

void conv2d_backward_weight(ConvGeometry g, const Tensor& x, const Tensor& dy, const Tensor& dw, bool add) {
  if (dw.dtype() == f64)
    return backward_weight(g, x.cuda_data<double>(), dy.cuda_data<double>(), dw.mutable_cuda_data<double>(), add);
  if (dy.numel() == 0) {
    if (!add) dw.fill(0);
    return;
  }
  accumulate(dw, add, [&](float* to) {
    conv2d_cudnn(ConvPass::backward_weight, g, x.cuda_data<float>(), to, dy.cuda_data<float>());
  });
}

}  // namespace norma::cuda
