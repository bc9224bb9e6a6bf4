// Learning rates as functions of the step, 0, 1, 2, ... alone:  optimizer.set_lr(schedule(step)).  There is no state,
// so nothing of them belongs in a checkpoint. A negative step, values that make no sense, and a rate that comes out
// negative or not finite are errors. Past their end, CosineLR and OneCycleLR stay where they ended, exactly at the last
// of their rates; at step 0 they are exactly at the first.
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
// Topin, "Super-convergence", 2018, in PyTorch's form). `up`, in (0, 1), is the rising part of the `steps` steps: the
// step at up * steps - 1 has max_lr. Where that is not whole (up to rounding) the top lies between two steps, and where
// up * steps < 1 before step 0.
struct OneCycleLR {
  double max_lr = 0.1;
  int64_t steps = 0;
  double up = 0.3;
  double start_div = 25, final_div = 1e4;
  double operator()(int64_t step) const;
};

// Throws unless lr is a number of at least 0, and step one of a schedule's.
void check_rate(std::string_view name, double lr, int64_t step = 0, int64_t steps = 1);

// The inner schedule, its first `steps` steps scaled by 1/steps, 2/steps, ... 1 (Goyal et al., "Accurate, large
// minibatch SGD", 2017). The inner one is not shifted.
struct WarmUp {
  std::function<double(int64_t step)> inner;
  int64_t steps;
  double operator()(int64_t step) const {
    const double lr = inner(step);
    check_rate("WarmUp", lr, step, steps);
    return step < steps ? lr * static_cast<double>(step + 1) / static_cast<double>(steps) : lr;
  }
};

}  // namespace norma::nn
