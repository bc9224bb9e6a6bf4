// Learning rates as functions of the step, 0, 1, 2, ... alone:  optimizer.set_lr(schedule(step)).  There is no state,
// so nothing of them belongs in a checkpoint. A negative step, or values that make no sense, are errors. Past their
// end, CosineLR and OneCycleLR stay where they ended.
#pragma once

#include <cstdint>

#include "norma/core/error.h"

namespace norma::nn {

// lr * gamma^floor(step / step_size)
struct StepLR {
  double lr = 0.1;
  int64_t step_size = 30;
  double gamma = 0.1;
  double operator()(int64_t step) const;
};

// From lr down to min_lr in `steps` steps, as half a cosine (Loshchilov & Hutter, "SGDR", 2017; no restarts).
struct CosineLR {
  double lr = 0.1;
  int64_t steps = 0;
  double min_lr = 0;
  double operator()(int64_t step) const;
};

// From max_lr / start_div up to max_lr, then down to max_lr / start_div / final_div, both as half a cosine (Smith &
// Topin, "Super-convergence", 2018, in PyTorch's form). `up` is the rising part of the `steps` steps.
struct OneCycleLR {
  double max_lr = 0.1;
  int64_t steps = 0;
  double up = 0.3;
  double start_div = 25, final_div = 1e4;
  double operator()(int64_t step) const;
};

// The inner schedule, its first `steps` steps scaled by 1/steps, 2/steps, ... 1 (Goyal et al., "Accurate, large
// minibatch SGD", 2017). The inner one is not shifted.
template <class Inner>
struct WarmUp {
  Inner inner;
  int64_t steps;
  double operator()(int64_t step) const {
    check(steps >= 1, "WarmUp", "{} steps: want at least 1", steps);
    const double lr = inner(step);
    return step < steps ? lr * static_cast<double>(step + 1) / static_cast<double>(steps) : lr;
  }
};
template <class Inner>
WarmUp(Inner, int64_t) -> WarmUp<Inner>;

}  // namespace norma::nn
