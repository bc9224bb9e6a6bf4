#include "norma/nn/layers.h"

#include <cmath>

#include "norma/nn/init.h"

namespace norma::nn {

void WeightedLayer::initialize(const char* name, const Shape& weight_shape, int64_t outputs, bool with_bias) {
  check(std::all_of(weight_shape.begin(), weight_shape.end(), [](int64_t n) { return n >= 1; }), name,
        "a weight of shape {}: sizes are at least 1", weight_shape);
  weight = Parameter(empty(weight_shape));
  init::kaiming_uniform(weight, {.gain = std::sqrt(1.0 / 3)});  // the gain of a leaky relu of slope sqrt(5)
  if (!with_bias) return;
  const double bound = 1 / std::sqrt(init::fan_of(weight, init::Fan::in));
  bias = Parameter(empty({outputs}));
  default_generator().fill_uniform(bias, -bound, bound);
}

void WeightedLayer::check_groups(const char* name, int64_t in, int64_t out, int64_t groups) {
  check(groups >= 1 && in % groups == 0 && out % groups == 0, name, "{} groups do not divide {} and {} channels",
        groups, in, out);
}

}  // namespace norma::nn
