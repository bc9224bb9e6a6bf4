#include "norma/nn/layers.h"

#include "norma/nn/init.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/where.h"
#include "norma/ops/linalg/matmul.h"
#include "norma/ops/reduce/reduce.h"
#include "norma/ops/shape/index.h"

namespace norma::nn {

WeightedLayer::WeightedLayer(const char* name, Shape weight_shape, int64_t in, int64_t out, const BiasOption& with,
                             int64_t groups) {
  check(groups >= 1 && in % groups == 0 && out % groups == 0, name, "{} groups do not divide {} and {} channels",
        groups, in, out);
  weight_shape[weight_shape.rank() - 1] /= groups;
  check(std::all_of(weight_shape.begin(), weight_shape.end(), [](int64_t n) { return n >= 1; }), name,
        "a weight of shape {}: sizes are at least 1", weight_shape);
  weight = Parameter(empty(weight_shape));
  init::kaiming_uniform(weight, {.gain = std::sqrt(1.0 / 3)});  // the gain of a leaky relu of slope sqrt(5)
  if (!with.bias) return;
  const double bound = 1 / std::sqrt(init::fan_of(weight, init::Fan::in));
  bias = Parameter(empty({out}));
  default_generator().fill_uniform(bias, -bound, bound);
}

// The weight as a matrix [out, numel / out].
static Tensor as_matrix(const Tensor& weight) { return reshape(weight, {weight.dim(0), -1}); }
static Tensor length(const Tensor& x, const Shape& axes = {}) { return sqrt(sum(square(x), axes)); }

// Steps of power iteration, on weight_u and weight_v.
static void iterate(WeightedLayer& layer, int steps) {
  const NoGrad unrecorded;
  const Tensor w = as_matrix(layer.weight);
  const auto become_unit = [](const Tensor& vector, const Tensor& x) {
    vector.copy_from(view::reshape(x / maximum(length(x), 1e-12), vector.shape()));
  };
  for (int i = 0; i < steps; ++i) {
    become_unit(layer.weight_v, matmul(view::reshape(layer.weight_u, {1, -1}), w));
    become_unit(layer.weight_u, matmul(w, view::reshape(layer.weight_v, {-1, 1})));
  }
}

Tensor WeightedLayer::used_weight() {
  if (weight_g.defined()) return weight * (weight_g / reshape(length(as_matrix(weight), {1}), weight_g.shape()));
  if (!weight_u.defined()) return weight;
  if (is_training()) iterate(*this, 1);
  // Copies: the next pass writes into the buffers, and the tape may still need these.
  const Tensor u = view::reshape(weight_u.clone(), {1, -1}), v = view::reshape(weight_v.clone(), {-1, 1});
  return weight / reshape(matmul(matmul(u, as_matrix(weight)), v), {});
}

static void check_raw(const char* op, WeightedLayer& layer) {
  check(dynamic_cast<Linear*>(&layer) || dynamic_cast<Conv2d*>(&layer), op, "of a Linear or a Conv2d, not of a {}",
        layer.type());
  check(layer.uses_raw_weight(), op, "the {}'s weight is normalized already", layer.type());
}

void weight_norm(WeightedLayer& layer) {
  check_raw("weight_norm", layer);
  const NoGrad unrecorded;
  const Tensor& w = layer.weight;
  layer.weight_g = Parameter(reshape(length(as_matrix(w), {1}), w.rank() == 4 ? Shape{-1, 1, 1, 1} : Shape{-1, 1}));
}

void spectral_norm(WeightedLayer& layer) {
  check_raw("spectral_norm", layer);
  const Tensor& w = layer.weight;
  const auto begin = [&](int64_t n) { return Buffer(randn({n}).to(w.dtype()).to(w.device())); };
  layer.weight_u = begin(w.dim(0));
  layer.weight_v = begin(w.numel() / w.dim(0));
  iterate(layer, 15);  // as PyTorch does, so that the first passes divide by about the right value
}

Tensor Dropout::drop_whole(const Tensor& x, bool channels) {
  check_settings();
  check(x.rank() >= 1 + channels, "Dropout", "want [N, ...{}], not {}", channels ? ", C" : "", x.shape());
  if (!is_training() || p == 0) return x;
  Shape shape = x.shape();
  for (int i = 1; i < x.rank() - channels; ++i) shape[i] = 1;
  const Tensor scale = dropout(ones(shape, x.dtype(), x.device()), p, *generator);
  return where(gt(scale, 0), x * scale, full({}, 0, x.dtype(), x.device()));
}

Embedding::Embedding(int64_t count, int64_t features) {
  check(count >= 1 && features >= 1, "Embedding", "{} rows of {} features: sizes are at least 1", count, features);
  weight = Parameter(randn({count, features}));
}

Tensor Embedding::forward(const Tensor& ids) {
  Shape shape = ids.shape();
  shape.push_back(weight.dim(1));
  return reshape(index_select(weight, 0, view::reshape(ids, {ids.numel()})), shape);
}

ShapedLayerNorm::ShapedLayerNorm(const Shape& shape, double variance_eps)
    : weight(ones(shape)), bias(zeros(shape)), eps(variance_eps) {
  check(weight.numel() > 0, "ShapedLayerNorm", "the shape {} has no elements", shape);
}

Tensor ShapedLayerNorm::forward(const Tensor& x) {
  const int leading = x.rank() - weight.rank();
  check(leading >= 0 && std::equal(weight.shape().begin(), weight.shape().end(), x.shape().begin() + leading),
        "ShapedLayerNorm", "the input {} does not end in the shape {} of the weight", x.shape(), weight.shape());
  const Tensor rows = reshape(x, {x.numel() / weight.numel(), weight.numel()});
  return reshape(norm(rows, features(), {}, reshape(weight, {-1}), reshape(bias, {-1}), {.eps = eps}), x.shape());
}

}  // namespace norma::nn
