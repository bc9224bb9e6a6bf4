// Solution of exercise 12_weights.
#pragma once

#include <norma/core/workers.h>
#include <norma/ops/elementwise/binary.h>
#include <norma/ops/reduce/reduce.h>

using norma::Tensor;

// By what a worker multiplies the mean loss of its share, so that the plain mean over the workers of the gradients is
// the gradient of the mean over all samples. The worker has `mine` samples, at least 1, and the others have other
// numbers.
inline double weight_of_share(norma::Communicator& me, int64_t mine) {
  const Tensor all = norma::scalar(static_cast<double>(mine), norma::f64);
  me.all_reduce(all);
  return static_cast<double>(me.size() * mine) / all.item();
}

// The gradient of a synchronized norm over the first axis: dx = (g - mean(g) - xhat mean(g xhat)) / s, where the means
// are over the samples of all workers. g, xhat: [n, C], f64, of this worker's share; s: [C], the same with all.
inline Tensor sync_norm_backward(norma::Communicator& me, const Tensor& g, const Tensor& xhat, const Tensor& s) {
  const Tensor n = norma::scalar(static_cast<double>(g.dim(0)), norma::f64);
  const Tensor sum_of_g = sum(g, {0}), sum_of_product = sum(g * xhat, {0});
  for (const Tensor& x : {n, sum_of_g, sum_of_product}) me.all_reduce(x);
  return (g - sum_of_g / n - xhat * (sum_of_product / n)) / s;
}
