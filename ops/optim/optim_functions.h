// The mathematics of ops/optim/optim.h, one struct a rule, for CPU and CUDA kernels alike: made from a parameter's
// step and the rule, in the arithmetic of its dtype, it updates one element.
#pragma once

#include <cmath>

#include "norma/core/host_device.h"
#include "norma/ops/optim/optim.h"

namespace norma::optim_functions {

template <class T>
struct Sgd {
  T lr, decay;
  T keep, take;    // of the old velocity and of the gradient, in the new velocity
  T along, ahead;  // of the new velocity and of the gradient, in the step taken

  Sgd() = default;
  Sgd(const ParameterStep& step, const SgdRule& rule)
      : lr(static_cast<T>(step.lr)),
        decay(static_cast<T>(step.weight_decay)),
        keep(static_cast<T>(step.step == 1 ? 0 : rule.momentum)),
        take(static_cast<T>(step.step == 1 ? 1 : 1 - rule.dampening)),
        along(static_cast<T>(rule.nesterov ? rule.momentum : 1)),
        ahead(rule.nesterov) {}

  NORMA_HOST_DEVICE void operator()(T& p, T grad) const { p -= lr * (grad + decay * p); }
  NORMA_HOST_DEVICE void operator()(T& p, T grad, T& velocity) const {
    const T g = grad + decay * p;
    velocity = keep * velocity + take * g;
    p -= lr * (ahead * g + along * velocity);
  }
};

template <class T>
struct Adam {
  T beta1, beta2, rest1, rest2, eps, decay;
  T shrink;       // of the parameter: what a decoupled decay leaves
  T rate, scale;  // with the corrections of m's and v's bias

  Adam() = default;
  Adam(const ParameterStep& step, const AdamRule& rule)
      : beta1(static_cast<T>(rule.beta1)),
        beta2(static_cast<T>(rule.beta2)),
        rest1(static_cast<T>(1 - rule.beta1)),
        rest2(static_cast<T>(1 - rule.beta2)),
        eps(static_cast<T>(rule.eps)),
        decay(static_cast<T>(rule.decoupled ? 0 : step.weight_decay)),
        shrink(static_cast<T>(rule.decoupled ? 1 - step.lr * step.weight_decay : 1)),
        rate(static_cast<T>(step.lr / (1 - std::pow(rule.beta1, static_cast<double>(step.step))))),
        scale(static_cast<T>(1 / std::sqrt(1 - std::pow(rule.beta2, static_cast<double>(step.step))))) {}

  NORMA_HOST_DEVICE void operator()(T& p, T grad, T& m, T& v) const {
    const T g = grad + decay * p;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
    p = shrink * p - rate * m / (std::sqrt(v) * scale + eps);
  }
};

}  // namespace norma::optim_functions
