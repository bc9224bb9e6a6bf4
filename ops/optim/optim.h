// The inner loops of the optimizers: in place, in one pass over all parameters, and not recorded. Parameter i has the
// i-th of each span: tensors f32 or f64, contiguous, of its shape, and a step of its own. Writing into a parameter that
// a pending tape entry has saved is an error.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

struct SgdStep {
  double lr = 0, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  bool first = false;  // the velocity, zero so far, becomes the gradient, undampened
};
// g = grad + weight_decay p;  v = momentum v + (1 - dampening) g;  p -= lr (nesterov ? g + momentum v : v)
// A velocity is undefined where momentum is 0; then p -= lr g.
NORMA_SIMD_KERNEL(sgd_update, std::span<const Tensor> p, std::span<const Tensor> grad, std::span<const Tensor> velocity,
                  std::span<const SgdStep> steps)

struct AdamStep {
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  bool decoupled = false;  // AdamW: p *= 1 - lr weight_decay; else g = grad + weight_decay p
  int64_t step = 1;        // counts from 1
};
// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
// p -= lr m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps)
NORMA_SIMD_KERNEL(adam_update, std::span<const Tensor> p, std::span<const Tensor> grad, std::span<const Tensor> m,
                  std::span<const Tensor> v, std::span<const AdamStep> steps)

}  // namespace norma
