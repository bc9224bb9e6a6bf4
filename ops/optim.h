// The inner loops of the optimizers: in place, each in one pass over a parameter, and none of them recorded.
// All tensors f32 or f64, contiguous, of the parameter's shape; writing into a parameter that a pending tape entry has
// saved is an error.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

struct SgdStep {
  double lr = 0, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  bool first = false;  // the velocity, zero so far, becomes the gradient, undampened
};
// g = grad + weight_decay p;  v = momentum v + (1 - dampening) g;  p -= lr (nesterov ? g + momentum v : v)
// `velocity` is undefined where momentum is 0; then p -= lr g.
NORMA_SIMD_KERNEL(sgd_update, const Tensor& p, const Tensor& grad, const Tensor& velocity, SgdStep step)

struct AdamStep {
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  bool decoupled = false;  // AdamW: p *= 1 - lr weight_decay; else g = grad + weight_decay p
  int64_t step = 1;        // counts from 1
};
// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
// p -= lr m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps)
NORMA_SIMD_KERNEL(adam_update, const Tensor& p, const Tensor& grad, const Tensor& m, const Tensor& v, AdamStep step)

}  // namespace norma
