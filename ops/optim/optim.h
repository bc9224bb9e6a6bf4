// The inner loops of the optimizers: in place, in one pass over all parameters, and not recorded.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// One step of one parameter: tensors f32 or f64, contiguous, of one shape. Writing into a parameter that a pending tape
// entry has saved is an error.
struct ParameterStep {
  Tensor p{}, grad{}, averages[2]{};  // undefined: averages that the rule does not have
  double lr = 0, weight_decay = 0;
  int64_t step = 1;  // counts from 1
};

struct SgdRule {
  double momentum = 0, dampening = 0;
  bool nesterov = false;
};
// g = grad + weight_decay p;  v = momentum v + (1 - dampening) g, in the first step g;
// p -= lr (nesterov ? g + momentum v : v)
// The velocity v, averages[0], is zero at first. It is undefined where momentum is 0; then p -= lr g.
NORMA_SIMD_KERNEL(sgd_update, std::span<const ParameterStep> steps, const SgdRule& rule)

struct AdamRule {
  double beta1 = 0, beta2 = 0, eps = 0;
  bool decoupled = false;  // AdamW: p *= 1 - lr weight_decay; else g = grad + weight_decay p
};
// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
// p -= lr m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps)
// m and v are averages[0] and [1].
NORMA_SIMD_KERNEL(adam_update, std::span<const ParameterStep> steps, const AdamRule& rule)

}  // namespace norma
