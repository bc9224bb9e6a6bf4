// The layers: modules around the ops of the same names, which say more about shapes and errors. Images are
// [N, H, W, C]. Weights start as PyTorch's do, drawn from the default generator: manual_seed() fixes them.
#pragma once

#include <optional>

#include "norma/nn/module.h"
#include "norma/nn/norm/norm.h"
#include "norma/ops/conv/conv2d.h"
#include "norma/ops/conv/conv_transpose2d.h"
#include "norma/ops/elementwise/dropout.h"
#include "norma/ops/elementwise/unary.h"
#include "norma/ops/pool/pool2d.h"
#include "norma/ops/pool/upsample.h"
#include "norma/ops/reduce/softmax.h"
#include "norma/ops/shape/views.h"

namespace norma::nn {

// [..., in] -> [..., out]
struct Linear : Module {
  Linear(int64_t in, int64_t out, bool with_bias = true);
  Tensor forward(const Tensor& x) override;
  Parameter weight, bias;  // [out, in], [out]
  NORMA_VISIT(weight, bias)
};

// [N, H, W, in] -> [N, OH, OW, out]
struct Conv2d : Module {
  Conv2d(int64_t in, int64_t out, Pair kernel, const Conv2dOptions& options = {}, bool with_bias = true);
  Tensor forward(const Tensor& x) override;
  Conv2dOptions options;
  // Weight standardization (Qiao et al. 2019): each output's filter is used with mean 0 and variance 1; `weight`
  // itself, which is trained and saved, is the raw one. Wants a norm behind it.
  bool standardized = false;
  Tensor filters() const;  // the weight as it is used
  Parameter weight, bias;  // [out, KH, KW, in / groups], [out]
  NORMA_VISIT(weight, bias)
};
struct ConvTranspose2d : Module {
  ConvTranspose2d(int64_t in, int64_t out, Pair kernel, const ConvTranspose2dOptions& options = {},
                  bool with_bias = true);
  Tensor forward(const Tensor& x) override { return conv_transpose2d(x, weight, bias, options); }
  ConvTranspose2dOptions options;
  Parameter weight, bias;  // [in, KH, KW, out / groups], [out]
  NORMA_VISIT(weight, bias)
};

struct PoolOptions {
  std::optional<Pair> stride{};  // default: the kernel
  Pair padding = 0;
};
struct MaxPool2d : Module {
  explicit MaxPool2d(Pair kernel, const PoolOptions& o = {}) : options{kernel, o.stride, o.padding} {}
  Tensor forward(const Tensor& x) override { return max_pool2d(x, options); }
  Pool2dOptions options;
};
struct AvgPool2d : Module {
  explicit AvgPool2d(Pair kernel, const PoolOptions& o = {}) : options{kernel, o.stride, o.padding} {}
  Tensor forward(const Tensor& x) override { return avg_pool2d(x, options); }
  Pool2dOptions options;
};
struct Upsample : Module {
  explicit Upsample(Pair times) : scale(times) {}
  Tensor forward(const Tensor& x) override { return upsample_nearest(x, scale); }
  Pair scale;
};

// Zeros elements with probability p and scales the rest by 1 / (1 - p), in training only.
struct Dropout : Module {
  explicit Dropout(double probability = 0.5, Generator& source = default_generator());
  Tensor forward(const Tensor& x) override { return is_training() ? dropout(x, p, *generator) : x; }
  double p;
  Generator* generator;  // must outlive the layer
};

struct LeakyReLU : Module {
  explicit LeakyReLU(double negative_slope = 0.01) : slope(negative_slope) {}
  Tensor forward(const Tensor& x) override { return leaky_relu(x, slope); }
  double slope;
};
struct Softmax : Module {
  explicit Softmax(int64_t over = -1) : axis(over) {}
  Tensor forward(const Tensor& x) override { return softmax(x, axis); }
  int64_t axis;
};

#define NORMA_LAYER(name, y)                               \
  struct name : Module {                                   \
    Tensor forward(const Tensor& x) override { return y; } \
  };
NORMA_LAYER(Identity, x)
NORMA_LAYER(Flatten, flatten(x))                // [N, ...] -> [N, -1]
NORMA_LAYER(GlobalAvgPool, global_avg_pool(x))  // [N, H, W, C] -> [N, C]
NORMA_LAYER(ReLU, relu(x))
NORMA_LAYER(GELU, gelu(x))
NORMA_LAYER(SiLU, silu(x))
NORMA_LAYER(Tanh, tanh(x))
NORMA_LAYER(Sigmoid, sigmoid(x))
#undef NORMA_LAYER

}  // namespace norma::nn
