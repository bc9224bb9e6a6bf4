// Normalization over the batch (Ioffe & Szegedy, "Batch Normalization", 2015).
#pragma once

#include <utility>

#include "norma/ops/kernel.h"

namespace norma {

// f64 [C]. The variance is the biased one (divided by the number of values M): M / (M - 1) times it is what running
// statistics keep.
struct BatchNormStats {
  Tensor mean, var;
};

// y = (x - mean) / sqrt(var + eps) * gamma + beta, with the mean and variance of each channel of x [N, ..., C] over all
// other axes: as in training. Returns y and these statistics, which carry no gradient; that of y goes through them.
// gamma and beta are [C] and of x's dtype (f32 or f64), or undefined: 1 and 0. Errors: rank below 2, gamma or beta of
// another shape, fewer than two values a channel, eps <= 0.
std::pair<Tensor, BatchNormStats> batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                             double eps = 1e-5);
// The same with given constants `mean` and `var`, floating [C]: as in evaluation. Any number of values will do.
Tensor batch_norm_given(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& var,
                        double eps = 1e-5);

// Kernels. x, y, dx and dy are contiguous; mean, var and the sums are f64 [C]; gamma and beta may be undefined.
NORMA_KERNEL(batch_norm_stats, const Tensor& x, const Tensor& mean, const Tensor& var)
NORMA_KERNEL(batch_norm_apply, const Tensor& x, const Tensor& mean, const Tensor& var, double eps, const Tensor& gamma,
             const Tensor& beta, const Tensor& y)
// sum_dy: the sum of dy, which is beta's gradient; sum_dy_xhat: of dy (x - mean) / sqrt(var + eps), which is gamma's.
NORMA_KERNEL(batch_norm_sums, const Tensor& x, const Tensor& dy, const Tensor& mean, const Tensor& var, double eps,
             const Tensor& sum_dy, const Tensor& sum_dy_xhat)
// dx (+)= gamma rstd (dy - mean of dy - xhat * mean of dy xhat).
NORMA_KERNEL(batch_norm_backward, const Tensor& x, const Tensor& dy, const Tensor& mean, const Tensor& var, double eps,
             const Tensor& gamma, const Tensor& sum_dy, const Tensor& sum_dy_xhat, const Tensor& dx, bool add)

}  // namespace norma
