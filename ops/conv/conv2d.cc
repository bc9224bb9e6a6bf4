#include "norma/ops/conv/conv2d.h"

#include <fmt/ranges.h>

#include <cstdlib>

#include "norma/autograd/op.h"
#include "norma/ops/conv/im2col.h"
#include "norma/ops/conv/kernels.h"
#include "norma/ops/reduce/reduce.h"

namespace norma {
namespace {

constexpr const char* kAlgorithms[] = {"automatic", "reference", "im2col", "direct", "winograd", "winograd2"};

Shape text(Pair pair) { return {pair.h, pair.w}; }

bool can(ConvAlgorithm algorithm, const ConvGeometry& g, DType dtype) {
  switch (algorithm) {
    case ConvAlgorithm::direct: return dtype == f32 && (g.groups == 1 || (g.groups == g.c && g.groups == g.oc));
    case ConvAlgorithm::winograd:
    case ConvAlgorithm::winograd2:
      return dtype == f32 && g.kh == 3 && g.kw == 3 && g.stride == Pair(1) && g.dilation == Pair(1) && g.groups == 1;
    default: return true;
  }
}

}  // namespace

void check_convolution(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias, Pair stride,
                       Pair padding, Pair dilation, int64_t groups) {
  op.check_same({x, weight, bias});
  op.check(x.rank() == 4, "wants input [N, H, W, C]: input {}, weight {}", x.shape(), weight.shape());
  op.check(weight.rank() == 4 && weight.numel() > 0, "wants a weight of four axes, none empty: input {}, weight {}",
           x.shape(), weight.shape());
  const auto at_least = [&](const char* name, Pair p, int64_t least) {
    op.check(std::min(p.h, p.w) >= least, "{} {}: wants at least {}: input {}, weight {}", name, text(p), least,
             x.shape(), weight.shape());
  };
  at_least("stride", stride, 1), at_least("padding", padding, 0), at_least("dilation", dilation, 1);
  op.check(groups >= 1, "groups {}: wants at least 1: input {}, weight {}", groups, x.shape(), weight.shape());
}

ConvGeometry conv2d_geometry(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
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
  const ConvGeometry g = {in[0],    in[1],      in[2], in[3],    h / o.stride.h + 1, wide / o.stride.w + 1,
                          w[0],     w[1],       w[2],  o.stride, o.padding,          o.dilation,
                          o.groups, o.algorithm};
  op.check(can(o.algorithm, g, x.dtype()),
           "the {} algorithm cannot do stride {}, dilation {}, groups {} in {}: input {}, weight {}",
           kAlgorithms[static_cast<size_t>(o.algorithm)], text(o.stride), text(o.dilation), o.groups, x.dtype(), in, w);
  return g;
}

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options) {
  Op op("conv2d");
  const ConvGeometry g = conv2d_geometry(op, x, weight, bias, options);
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

// $NORMA_CONV, or `automatic`.
ConvAlgorithm wanted() {
  const char* text = std::getenv("NORMA_CONV");
  if (!text || !*text) return ConvAlgorithm::automatic;
  const auto found = std::find(std::begin(kAlgorithms), std::end(kAlgorithms), std::string_view(text));
  check(found != std::end(kAlgorithms), "conv2d", "NORMA_CONV is '{}', wants one of {}", text,
        fmt::join(kAlgorithms, ", "));
  return static_cast<ConvAlgorithm>(found - kAlgorithms);
}

// Which algorithm does a geometry: the one place that knows. The thresholds are where timings cross; `filters` are the
// channels that the kernels' vectors run over, those of y or, for the data gradient, of x.
ConvAlgorithm choose(const ConvGeometry& g, DType dtype, int64_t filters) {
  const ConvAlgorithm forced = g.algorithm == ConvAlgorithm::automatic ? wanted() : g.algorithm;
  if (forced != ConvAlgorithm::automatic && can(forced, g, dtype)) return forced;
  const auto tiles = [&](int64_t size) { return g.n * ((g.oh + size - 1) / size) * ((g.ow + size - 1) / size); };
  if (can(ConvAlgorithm::winograd, g, dtype) && std::min(g.c, g.oc) >= 12 && tiles(4) >= 16)
    return 36 * tiles(4) < 16 * tiles(2) ? ConvAlgorithm::winograd : ConvAlgorithm::winograd2;
  const bool worth_packing = g.groups > 1 || (filters >= 8 && tiles(1) >= 64);
  return can(ConvAlgorithm::direct, g, dtype) && worth_packing ? ConvAlgorithm::direct : ConvAlgorithm::im2col;
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
void run(const ConvGeometry& g, DType dtype, int64_t filters, F&& f) {
  dispatch_floating("conv2d", dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, float>)
      if (const ConvKernel* kernel = vectorised(g, dtype, filters)) return f.template operator()<T>(*kernel);
    if (choose(g, dtype, filters) == ConvAlgorithm::reference) return f.template operator()<T>(Reference<T>());
    f.template operator()<T>(Im2col<T>());
  });
}

}  // namespace

const ConvKernel* vectorised(const ConvGeometry& g, DType dtype, int64_t filters) {
  switch (choose(g, dtype, filters)) {
    case ConvAlgorithm::direct: return &NORMA_SIMD_BEST(direct);
    case ConvAlgorithm::winograd: return &NORMA_SIMD_BEST(winograd);
    case ConvAlgorithm::winograd2: return &NORMA_SIMD_BEST(winograd2);
    default: return nullptr;
  }
}

void conv2d_forward(ConvGeometry g, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y) {
  run(g, x.dtype(), g.oc, [&]<class T>(auto algorithm) {
    const T* b = bias.defined() ? bias.data<T>() : nullptr;
    if constexpr (std::is_same_v<decltype(algorithm), ConvKernel>)
      algorithm.forward(g, x.data<T>(), weight.data<T>(), b, y.mutable_data<T>(), nullptr);
    else algorithm.forward(g, x.data<T>(), weight.data<T>(), b, y.mutable_data<T>());
  });
}

void conv2d_data(ConvGeometry g, const Tensor& dy, const Tensor& weight, const Tensor& dx, bool add) {
  run(g, dy.dtype(), g.c,
      [&]<class T>(auto algorithm) { algorithm.data(g, dy.data<T>(), weight.data<T>(), dx.mutable_data<T>(), add); });
}

void conv2d_weights(ConvGeometry g, const Tensor& x, const Tensor& dy, const Tensor& dw, bool add) {
  run(g, x.dtype(), g.oc,
      [&]<class T>(auto algorithm) { algorithm.weights(g, x.data<T>(), dy.data<T>(), dw.mutable_data<T>(), add); });
}

}  // namespace cpu
}  // namespace norma
