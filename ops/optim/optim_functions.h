// The mathematics of ops/optim/optim.h, one struct a rule, for CPU and CUDA kernels alike: made from a parameter's
// step, in the arithmetic of its dtype, it updates one element.
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
  explicit Sgd(const SgdStep& step)
      : lr(static_cast<T>(step.lr)),
        decay(static_cast<T>(step.weight_decay)),
        keep(static_cast<T>(step.first ? 0 : step.momentum)),
        take(static_cast<T>(step.first ? 1 : 1 - step.dampening)),
        along(static_cast<T>(step.nesterov ? step.momentum : 1)),
        ahead(step.nesterov) {}

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
  explicit Adam(const AdamStep& step)
      : beta1(static_cast<T>(step.beta1)),
        beta2(static_cast<T>(step.beta2)),
        rest1(static_cast<T>(1 - step.beta1)),
        rest2(static_cast<T>(1 - step.beta2)),
        eps(static_cast<T>(step.eps)),
        decay(static_cast<T>(step.decoupled ? 0 : step.weight_decay)),
        shrink(static_cast<T>(step.decoupled ? 1 - step.lr * step.weight_decay : 1)),
        rate(static_cast<T>(step.lr / (1 - std::pow(step.beta1, static_cast<double>(step.step))))),
        scale(static_cast<T>(1 / std::sqrt(1 - std::pow(step.beta2, static_cast<double>(step.step))))) {}

  NORMA_HOST_DEVICE void operator()(T& p, T grad, T& m, T& v) const {
    const T g = grad + decay * p;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
    p = shrink * p - rate * m / (std::sqrt(v) * scale + eps);
  }
};

}  // namespace norma::optim_functions
