// The layers: modules around ops, with names, defaults and initial weights as in PyTorch. Other than there, images and
// weights are channels last, and sizes come as Pair, for which one number may stand: Conv2d(3, 16, 3, {.padding = 1}).
//
// Parameters are made in f32 on the CPU and drawn from the default generator, so that manual_seed() fixes them; to()
// moves and converts. Inputs are f32 or f64 as the parameters are (without any: either), on their device. Constructors
// throw where sizes or groups make no sense; what an input has to look like, the ops check (ops/, under the same name).
#pragma once

#include <cmath>

#include "norma/nn/norm/norm.h"
#include "norma/ops/conv/conv2d.h"
#include "norma/ops/conv/conv_transpose2d.h"
#include "norma/ops/elementwise/dropout.h"
#include "norma/ops/elementwise/unary.h"
#include "norma/ops/linalg/linear.h"
#include "norma/ops/pool/interpolate.h"
#include "norma/ops/reduce/softmax.h"
#include "norma/ops/shape/views.h"

namespace norma::nn {

// The last argument of Linear and the convolutions: Conv2d(3, 16, 3, {.padding = 1}, {.bias = false}).
struct BiasOption {
  bool bias = true;
};

// What these have. They draw both as PyTorch does, from U(-b, b), b = 1 / sqrt(fan in).
struct WeightedLayer : Module {
  Parameter weight, bias;
  // Of weight_norm and spectral_norm, else undefined.
  Parameter weight_g;         // [out, 1, ...]
  Buffer weight_u, weight_v;  // [out] and [numel / out]
  NORMA_VISIT(weight, bias, weight_g, weight_u, weight_v)
  bool uses_raw_weight() const { return !weight_g.defined() && !weight_u.defined(); }

 protected:
  Tensor used_weight();  // as the two norms want it
  // weight_shape: without groups, which divide its last axis.
  WeightedLayer(const char* name, Shape weight_shape, int64_t in, int64_t out, const BiasOption& with,
                int64_t groups = 1);
};

// y = x weight^T + bias: [..., in] -> [..., out]. weight: [out, in], bias: [out].
struct Linear : WeightedLayer {
  Linear(int64_t in, int64_t out, const BiasOption& with = {}) : WeightedLayer("Linear", {out, in}, in, out, with) {}
  Tensor forward(const Tensor& x) override { return linear(x, used_weight(), bias); }
};

// [N, H, W, in] -> [N, OH, OW, out]. The options default to stride 1, no padding, no dilation, one group; OH and OW are
// given in ops/conv/conv2d.h. weight: [out, KH, KW, in / groups], bias: [out]. Errors: groups that do not divide in and
// out.
struct Conv2d : WeightedLayer {
  Conv2d(int64_t in, int64_t out, Pair kernel, const Conv2dOptions& o = {}, const BiasOption& with = {})
      : WeightedLayer("Conv2d", {out, kernel.h, kernel.w, in}, in, out, with, o.groups), options(o) {}
  Tensor forward(const Tensor& x) override { return conv2d(x, filters(), bias, options); }
  Conv2dOptions options;
  // Weight standardization (Qiao et al. 2019): each output's filter is used with mean 0 and variance 1; `weight`
  // itself, which is trained and saved, is the raw one. The scale that this takes away a norm behind it has to give.
  bool standardized = false;
  Tensor filters() {  // the weight as it is used
    return standardized ? norm(weight, norma::layer(), {}, {}, {}, {.eps = 1e-10}) : used_weight();
  }
};

// Other ways to use the weight of a Linear or a Conv2d, which stays the raw one. Not both, nor with another layer: an
// error. After to(), before an optimizer is made.
// Weight normalization (Salimans & Kingma 2016): weight_g * weight / |weight|, output by output; the lengths weight_g,
// which begin as they are, are trained, too. Undefined where a weight is 0.
// Spectral normalization (Miyato et al. 2018): weight / s, s its largest singular value as a matrix [out, numel / out].
// The singular vectors weight_u and weight_v are kept; each training pass betters them by a step of power iteration.
void weight_norm(WeightedLayer& layer);
void spectral_norm(WeightedLayer& layer);

// The transpose of a Conv2d(out, in, ...), used to upsample: [N, H, W, in] -> [N, OH, OW, out], larger by the stride.
// Options, OH and OW: ops/conv/conv_transpose2d.h. weight: [in, KH, KW, out / groups], bias: [out]. Errors: groups that
// do not divide in and out.
struct ConvTranspose2d : WeightedLayer {
  ConvTranspose2d(int64_t in, int64_t out, Pair kernel, const ConvTranspose2dOptions& o = {},
                  const BiasOption& with = {})
      : WeightedLayer("ConvTranspose2d", {in, kernel.h, kernel.w, out}, in, out, with, o.groups), options(o) {}
  Tensor forward(const Tensor& x) override { return conv_transpose2d(x, weight, bias, options); }
  ConvTranspose2dOptions options;
};

// The largest, or the mean, of each window: [N, H, W, C] -> [N, OH, OW, C]. The options, and OH and OW, are those of
// ops/pool/pool2d.h: stride, by default the kernel, padding, dilation, ceil_mode, count_include_pad; `kernel` stands
// before them.
#define NORMA_POOL(name, pool)                                                                        \
  struct name : Module {                                                                              \
    explicit name(Pair kernel, const Pool2dOptions& o = {}) : options(o) { options.kernel = kernel; } \
    Tensor forward(const Tensor& x) override { return pool(x, options); }                             \
    Pool2dOptions options;                                                                            \
  };
NORMA_POOL(MaxPool2d, max_pool2d)  // the largest value of each window
NORMA_POOL(AvgPool2d, avg_pool2d)  // the mean of each window
#undef NORMA_POOL

// Larger (or smaller) images, by the nearest pixel or bilinear: [N, H, W, C] -> [N, H scale.h, W scale.w, C], rounded
// down; Upsample(2, {.mode = Interpolation::bilinear}). Error, in forward: a scale that leaves no pixel.
struct Upsample : Module {
  explicit Upsample(Scale factor, const InterpolateOptions& o = {}) : scale(factor), options(o) {}
  Tensor forward(const Tensor& x) override { return interpolate(x, scale, options); }
  Scale scale;
  InterpolateOptions options;
};

// In training, zeros each element with probability p and scales the others by 1 / (1 - p); in evaluation x itself. Any
// shape. Error, in the constructor and where it is used: a probability outside of [0, 1).
struct Dropout : Module {
  explicit Dropout(double probability = 0.5, Generator& source = default_generator())
      : p(probability), generator(&source) {
    check_settings();
  }
  Tensor forward(const Tensor& x) override {
    check_settings();
    return is_training() ? dropout(x, p, *generator) : x;
  }
  double p;
  Generator* generator;  // not owned: it must outlive the layer

 protected:
  Tensor drop_whole(const Tensor& x, bool channels);  // the channels of a sample, or all of it

 private:
  void check_settings() const {
    check(p >= 0 && p < 1, "Dropout", "a probability of {}: want one in [0, 1)", p);
    check(generator != nullptr, "Dropout", "no generator");
  }
};

// Dropout of whole channels, [N, ..., C] (Tompson et al. 2015), and of whole samples, [N, ...] (stochastic depth, Huang
// et al. 2016), for the branch beside a skip connection.
struct Dropout2d : Dropout {
  using Dropout::Dropout;
  Tensor forward(const Tensor& x) override { return drop_whole(x, true); }
};
struct DropPath : Dropout {
  using Dropout::Dropout;
  Tensor forward(const Tensor& x) override { return drop_whole(x, false); }
};

// Row `id` of the weight [count, features], for each id: i64 [...] -> [..., features]. Drawn from N(0, 1). Errors:
// sizes below 1; an id outside of [0, count).
struct Embedding : Module {
  Embedding(int64_t count, int64_t features);
  Tensor forward(const Tensor& ids) override;
  Parameter weight;
  NORMA_VISIT(weight)
};

// Layer norm over the last axes, those of `shape` ([H, W, C] of an image), with a weight and a bias for each element of
// them: x [..., shape]. PyTorch's LayerNorm of several axes; Layout::torch does not turn its weights, [C, H, W] there.
struct ShapedLayerNorm : Module {
  explicit ShapedLayerNorm(const Shape& shape, double eps = 1e-5);
  explicit ShapedLayerNorm(std::initializer_list<int64_t> shape) : ShapedLayerNorm(Shape(shape)) {}  // as Tensor's
  Tensor forward(const Tensor& x) override;
  Parameter weight, bias;
  NORMA_VISIT(weight, bias)
  double eps;
};

// x where x > 0, else slope x. Any shape. Error, in forward: a slope that is not finite.
struct LeakyReLU : Module {
  explicit LeakyReLU(double negative_slope = 0.01) : slope(negative_slope) {}
  Tensor forward(const Tensor& x) override {
    check(std::isfinite(slope), "LeakyReLU", "a slope of {}: want a number", slope);
    return leaky_relu(x, slope);
  }
  double slope;
};

// x where x > 0, else weight x, with a slope for each channel, x [..., C], or one for all (He et al. 2015). Error,
// in forward: other channels than these.
struct PReLU : Module {
  explicit PReLU(int64_t channels = 1, double slope = 0.25) : weight(full({channels}, slope)) {}
  Tensor forward(const Tensor& x) override {
    check(weight.numel() == 1 || x.dim(-1) == weight.numel(), "PReLU", "{} slopes for {}", weight.numel(), x.shape());
    return prelu(x, weight);
  }
  Parameter weight;
  NORMA_VISIT(weight)
};

// Along one axis, the last by default; negative ones count from the end. Any shape that has the axis.
struct Softmax : Module {
  explicit Softmax(int64_t over = -1) : axis(over) {}
  Tensor forward(const Tensor& x) override { return softmax(x, axis); }
  int64_t axis;
};

// Layers without parameters or options. x has any shape unless one is given.
#define NORMA_LAYER(name, y)                               \
  struct name : Module {                                   \
    Tensor forward(const Tensor& x) override { return y; } \
  };
NORMA_LAYER(Identity, x)
NORMA_LAYER(Flatten, flatten(x))                // [N, ...] -> [N, -1]
NORMA_LAYER(GlobalAvgPool, global_avg_pool(x))  // [N, H, W, C] -> [N, C]
NORMA_LAYER(ReLU, relu(x))
NORMA_LAYER(ReLU6, relu6(x))
NORMA_LAYER(GELU, gelu(x))
NORMA_LAYER(SiLU, silu(x))
NORMA_LAYER(Tanh, tanh(x))
NORMA_LAYER(Sigmoid, sigmoid(x))
#undef NORMA_LAYER

}  // namespace norma::nn
