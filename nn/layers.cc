#include "norma/nn/layers.h"

#include <cmath>

#include "norma/nn/init.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/linalg/linear.h"

namespace norma::nn {
namespace {

// Makes weight and bias as PyTorch does, with draws from U(-b, b), b = 1 / sqrt(fan in). For the weight that is
// kaiming_uniform with the gain of a leaky relu of slope sqrt(5).
template <class Layer>
void initialize(const char* name, Layer& layer, const Shape& weight, int64_t outputs, bool with_bias) {
  check(weight.numel() > 0, name, "a weight of shape {}: sizes are at least 1", weight);
  layer.weight = Parameter(empty(weight));
  init::kaiming_uniform(layer.weight, {.gain = std::sqrt(1.0 / 3)});
  if (!with_bias) return;
  const double bound = 1 / std::sqrt(init::fan_of(layer.weight, init::Fan::in));
  layer.bias = Parameter(empty({outputs}));
  default_generator().fill_uniform(layer.bias, -bound, bound);
}

void check_groups(const char* name, int64_t in, int64_t out, int64_t groups) {
  check(groups >= 1 && in % groups == 0 && out % groups == 0, name, "{} groups do not divide {} and {} channels",
        groups, in, out);
}

}  // namespace

Linear::Linear(int64_t in, int64_t out, bool with_bias) { initialize("Linear", *this, {out, in}, out, with_bias); }

Tensor Linear::forward(const Tensor& x) { return linear(x, weight, bias); }

Conv2d::Conv2d(int64_t in, int64_t out, Pair kernel, const Conv2dOptions& chosen, bool with_bias) : options(chosen) {
  check_groups("Conv2d", in, out, options.groups);
  initialize("Conv2d", *this, {out, kernel.h, kernel.w, in / options.groups}, out, with_bias);
}

Tensor Conv2d::filters() const {
  return standardized ? norm(weight, norma::layer(), {}, {}, {}, {.eps = 1e-10}) : Tensor(weight);
}

Tensor Conv2d::forward(const Tensor& x) { return conv2d(x, filters(), bias, options); }

ConvTranspose2d::ConvTranspose2d(int64_t in, int64_t out, Pair kernel, const ConvTranspose2dOptions& chosen,
                                 bool with_bias)
    : options(chosen) {
  check_groups("ConvTranspose2d", in, out, options.groups);
  initialize("ConvTranspose2d", *this, {in, kernel.h, kernel.w, out / options.groups}, out, with_bias);
}

Dropout::Dropout(double probability, Generator& source) : p(probability), generator(&source) {
  check(p >= 0 && p < 1, "Dropout", "a probability of {}: want one in [0, 1)", p);
}

}  // namespace norma::nn
