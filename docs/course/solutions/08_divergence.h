// Solution of exercise 08_divergence.
#pragma once

#include <cmath>

struct Gaussian {
  double mean, var;
};

// The symmetric divergence (KL(p | q) + KL(q | p)) / 2, in nats, where for two Gaussians
//   KL(p | q) = (log(q.var / p.var) + (p.var + (p.mean - q.mean)^2) / q.var - 1) / 2.
// eps is added to both variances, so that a constant channel gives a number.
inline double divergence(Gaussian p, Gaussian q, double eps) {
  p.var += eps;
  q.var += eps;
  const double d = p.mean - q.mean, ratio = p.var / q.var;
  return (ratio + 1 / ratio - 2 + d * d * (1 / p.var + 1 / q.var)) / 4;  // the logarithms cancel
}

// By how many independent values at a time a layer is normalized whose batches have this divergence on average.
inline double values(double divergence) { return 1 / divergence; }
