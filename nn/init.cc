#include "norma/nn/init.h"

#include <cmath>

namespace norma::nn::init {
static double checked(double gain) {
  check(std::isfinite(gain) && gain >= 0, "init", "a gain of {}: want a number of at least 0", gain);
  return gain;
}
// The standard deviation of the draws.
static double kaiming(const Tensor& weight, const KaimingOptions& options) {
  return checked(options.gain) / std::sqrt(fan_of(weight, options.fan));
}
static double xavier(const Tensor& weight, double gain) {
  return checked(gain) * std::sqrt(2 / (fan_of(weight, Fan::in) + fan_of(weight, Fan::out)));
}
static void uniform(const Tensor& weight, double deviation, Generator& g) {
  const double bound = std::sqrt(3.0) * deviation;
  g.fill_uniform(weight, -bound, bound);
}

double fan_of(const Tensor& weight, Fan fan) {
  check(weight.rank() >= 2 && weight.numel() > 0, "init", "a weight has two axes or more, none of them empty: shape {}",
        weight.shape());
  return static_cast<double>(weight.numel() / weight.dim(fan == Fan::in ? 0 : -1));
}

void kaiming_uniform(const Tensor& weight, const KaimingOptions& options, Generator& g) {
  uniform(weight, kaiming(weight, options), g);
}
void kaiming_normal(const Tensor& weight, const KaimingOptions& options, Generator& g) {
  g.fill_normal(weight, 0, kaiming(weight, options));
}
void xavier_uniform(const Tensor& weight, double gain, Generator& g) { uniform(weight, xavier(weight, gain), g); }
void xavier_normal(const Tensor& weight, double gain, Generator& g) { g.fill_normal(weight, 0, xavier(weight, gain)); }

}  // namespace norma::nn::init
