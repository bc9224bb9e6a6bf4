#include "norma/ops/conv2d.h"

#include "norma/autograd/op.h"
#include "norma/ops/conv2d_depthwise.h"
#include "norma/ops/conv2d_im2col.h"
#include "norma/ops/reduce.h"

namespace norma {
namespace {

Shape text(Pair pair) { return {pair.h, pair.w}; }

ConvGeometry geometry_of(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const Conv2dOptions& o) {
  check_convolution(op, x, weight, bias, o.stride, o.padding, o.dilation, o.groups);
  const Shape &in = x.shape(), &w = weight.shape();
  op.check(in[3] == w[3] * o.groups, "input has {} channels, weight {} wants {}{}: input {}", in[3], w, w[3] * o.groups,
           o.groups > 1 ? fmt::format(" (groups {})", o.groups) : "", in);
  op.check(w[0] % o.groups == 0, "groups {} do not divide the {} output channels: input {}, weight {}", o.groups, w[0],
           in, w);
  op.check(!bias.defined() || bias.shape() == Shape{w[0]}, "bias is {}, weight {} wants [{}]: input {}",
           bias.defined() ? bias.shape() : Shape{}, w, w[0], in);
  const int64_t h = in[1] + 2 * o.padding.h - o.dilation.h * (w[1] - 1) - 1;
  const int64_t wide = in[2] + 2 * o.padding.w - o.dilation.w * (w[2] - 1) - 1;
  op.check(h >= 0 && wide >= 0, "kernel of weight {} with dilation {} is larger than input {} padded by {}", w,
           text(o.dilation), in, text(o.padding));
  const bool depthwise = o.groups == in[3] && o.groups == w[0];
  op.check(depthwise || o.algorithm != ConvAlgorithm::depthwise,
           "the depthwise algorithm wants groups = C_in = C_out, not groups {}: input {}, weight {}", o.groups, in, w);
  return {in[0],    in[1],     in[2],      in[3],    h / o.stride.h + 1, wide / o.stride.w + 1, w[0], w[1], w[2],
          o.stride, o.padding, o.dilation, o.groups, o.algorithm};
}

}  // namespace

void check_convolution(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias, Pair stride,
                       Pair padding, Pair dilation, int64_t groups) {
  op.check_same({x, weight, bias});
  op.check(x.rank() == 4, "wants input [N, H, W, C]: input {}, weight {}", x.shape(), weight.shape());
  op.check(weight.rank() == 4 && weight.numel() > 0, "wants a weight of four axes, none empty: input {}, weight {}",
           x.shape(), weight.shape());
  op.check(stride.h >= 1 && stride.w >= 1, "stride {}: wants at least 1: input {}, weight {}", text(stride), x.shape(),
           weight.shape());
  op.check(padding.h >= 0 && padding.w >= 0, "padding {}: wants at least 0: input {}, weight {}", text(padding),
           x.shape(), weight.shape());
  op.check(dilation.h >= 1 && dilation.w >= 1, "dilation {}: wants at least 1: input {}, weight {}", text(dilation),
           x.shape(), weight.shape());
  op.check(groups >= 1, "groups {}: wants at least 1: input {}, weight {}", groups, x.shape(), weight.shape());
}

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options) {
  Op op("conv2d");
  const ConvGeometry g = geometry_of(op, x, weight, bias, options);
  const Tensor in = x.contiguous(), w = weight.contiguous();
  Tensor y({g.n, g.oh, g.ow, g.oc}, x.dtype(), x.device());
  kernel::conv2d_forward(g, in, w, bias.defined() ? bias.contiguous() : bias, y);
  return op.record({x, weight, bias}, y,
                   [g, in = op.save(Op::records({weight}) ? in : Tensor()),
                    w = op.save(Op::records({x}) ? w : Tensor())](const Tensor& upstream, Sink& dx) {
                     const Tensor dy = upstream.contiguous();
                     if (dx.wants(0)) {
                       const auto [grad, add] = dx.into(0);
                       kernel::conv2d_data(g, dy, w, grad, add);
                     }
                     if (dx.wants(1)) {
                       const auto [grad, add] = dx.into(1);
                       kernel::conv2d_weights(g, in, dy, grad, add);
                     }
                     if (dx.wants(2)) dx.give(2, sum(dy, {0, 1, 2}));
                   });
}

namespace cpu {
namespace {

// Which algorithm does a geometry: the one place that knows.
ConvAlgorithm choose(const ConvGeometry& g) {
  if (g.algorithm != ConvAlgorithm::automatic) return g.algorithm;
  if (g.groups > 1 && g.groups == g.c && g.groups == g.oc) return ConvAlgorithm::depthwise;
  return ConvAlgorithm::im2col;
}

// The definition: y[i] = bias + the sum of x[j] * weight[k] over the (i, j, k) visited here.
template <class T>
struct Reference {
  template <class F>
  static void for_products(const ConvGeometry& g, F&& f) {
    const int64_t channels = g.c / g.groups, filters = g.oc / g.groups;
    for (int64_t pixel = 0; pixel < g.n * g.oh * g.ow; ++pixel) {
      const int64_t n = pixel / g.ow / g.oh, oy = pixel / g.ow % g.oh, ox = pixel % g.ow;
      for (int64_t o = 0; o < g.oc; ++o) {
        for (int64_t k = 0; k < g.kh * g.kw * channels; ++k) {
          const int64_t ky = k / channels / g.kw, kx = k / channels % g.kw, c = o / filters * channels + k % channels;
          const int64_t iy = oy * g.stride.h - g.padding.h + ky * g.dilation.h;
          const int64_t ix = ox * g.stride.w - g.padding.w + kx * g.dilation.w;
          if (iy < 0 || iy >= g.h || ix < 0 || ix >= g.w) continue;
          f(pixel * g.oc + o, ((n * g.h + iy) * g.w + ix) * g.c + c, o * g.kh * g.kw * channels + k);
        }
      }
    }
  }

  static void forward(const ConvGeometry& g, const T* x, const T* weight, const T* bias, T* y) {
    for (int64_t i = 0; i < g.n * g.oh * g.ow * g.oc; ++i) y[i] = bias ? bias[i % g.oc] : T(0);
    for_products(g, [&](int64_t i, int64_t j, int64_t k) { y[i] += x[j] * weight[k]; });
  }
  static void data(const ConvGeometry& g, const T* dy, const T* weight, T* dx, bool add) {
    if (!add) std::fill_n(dx, g.n * g.h * g.w * g.c, T(0));
    for_products(g, [&](int64_t i, int64_t j, int64_t k) { dx[j] += dy[i] * weight[k]; });
  }
  static void weights(const ConvGeometry& g, const T* x, const T* dy, T* dw, bool add) {
    if (!add) std::fill_n(dw, g.oc * g.kh * g.kw * g.c / g.groups, T(0));
    for_products(g, [&](int64_t i, int64_t j, int64_t k) { dw[k] += dy[i] * x[j]; });
  }
};

// Calls f<T>(algorithm).
template <class F>
void run(const ConvGeometry& g, DType dtype, F&& f) {
  dispatch_floating("conv2d", dtype, [&]<class T>() {
    switch (choose(g)) {
      case ConvAlgorithm::reference: return f.template operator()<T>(Reference<T>());
      case ConvAlgorithm::depthwise: return f.template operator()<T>(Depthwise<T>());
      default: return f.template operator()<T>(Im2col<T>());
    }
  });
}

}  // namespace

void conv2d_forward(ConvGeometry g, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y) {
  run(g, x.dtype(), [&]<class T>(auto algorithm) {
    const T* b = bias.defined() ? bias.data<T>() : nullptr;
    algorithm.forward(g, x.data<T>(), weight.data<T>(), b, y.mutable_data<T>());
  });
}

void conv2d_data(ConvGeometry g, const Tensor& dy, const Tensor& weight, const Tensor& dx, bool add) {
  run(g, dy.dtype(),
      [&]<class T>(auto algorithm) { algorithm.data(g, dy.data<T>(), weight.data<T>(), dx.mutable_data<T>(), add); });
}

void conv2d_weights(ConvGeometry g, const Tensor& x, const Tensor& dy, const Tensor& dw, bool add) {
  run(g, x.dtype(),
      [&]<class T>(auto algorithm) { algorithm.weights(g, x.data<T>(), dy.data<T>(), dw.mutable_data<T>(), add); });
}

}  // namespace cpu
}  // namespace norma
