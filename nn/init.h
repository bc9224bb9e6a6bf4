// How weights start. Each function overwrites `weight`, of f32 or f64, with independent draws of mean 0, uniform or
// normal, whose variance keeps a signal as large from layer to layer:
//   kaiming: variance gain^2 / fan             (He et al., "Delving deep into rectifiers", 2015)
//   xavier:  variance gain^2 * 2 / (in + out)  (Glorot & Bengio, "Understanding the difficulty of training ...", 2010)
// The gain makes up for what follows: 1 for nothing or sigmoid, 5/3 for tanh, sqrt(2) for relu, sqrt(2 / (1 + slope^2))
// for leaky relu. Fan in is the extent of all axes but the first ([out, in], [C_out, KH, KW, C_in / groups]), fan out
// of all but the last. So for a transposed convolution, [C_in, KH, KW, C_out], in and out say the opposite of what
// happens, as they do in PyTorch. Errors: a weight of less than two axes, or an empty one; a gain that is negative or
// not finite.
#pragma once

#include "norma/core/random.h"

namespace norma::nn::init {

enum class Fan { in, out };
struct KaimingOptions {
  double gain = 1.4142135623730951;  // sqrt(2): for relu
  Fan fan = Fan::in;
};
void kaiming_uniform(const Tensor& weight, const KaimingOptions& options = {}, Generator& g = default_generator());
void kaiming_normal(const Tensor& weight, const KaimingOptions& options = {}, Generator& g = default_generator());
void xavier_uniform(const Tensor& weight, double gain = 1, Generator& g = default_generator());
void xavier_normal(const Tensor& weight, double gain = 1, Generator& g = default_generator());

double fan_of(const Tensor& weight, Fan fan);

}  // namespace norma::nn::init
