// Moments: count, mean and sum of squared deviations of the cells of a grouping, in double. What batch, synced, precise
// and per-domain statistics have in common: all are merges of moments.
#pragma once

#include "norma/ops/kernel.h"
#include "norma/ops/norm/grouping.h"

namespace norma {

struct Moments {
  Tensor count, mean, m2;  // f64 [sets, groups]

  bool defined() const { return count.defined(); }
  Tensor var(int64_t correction = 0) const;  // m2 / (count - correction); f64 [sets, groups]
};

// Of x [N, ..., C], f32 or f64, on its device. Nothing is recorded. An empty cell has count 0, mean 0. Without
// centering (RMS norm) the moments are about 0: the mean is 0, and m2 the sum of squares; they merge as others do.
Moments moments(const std::vector<Tensor>& xs, const Grouping& grouping = {}, bool center = true);
inline Moments moments(const Tensor& x, const Grouping& grouping = {}, bool center = true) {
  return moments(std::vector<Tensor>{x}, grouping, center);
}

// Of the union of two disjoint sets of elements, cell by cell (Chan et al. 1979). An undefined side is taken as empty.
Moments merge(const Moments& a, const Moments& b);
// All sets merged into one: [1, groups].
Moments merge_sets(const Moments& moments);

// A population's step, in place. mean, var: f64 [rows, G] or [G]; steps: i64 [rows] or []. Row r follows the sets r,
// r + rows, ... of the moments (f64 [sets, G]) that hold more than `correction` elements: the mean of their means, and
// of their variances m2 / (M - correction), enter with the weight `momentum`, or where that is negative 1 / steps. The
// correction is 1, or 0 for moments about 0.
NORMA_KERNEL(follow_moments, const Tensor& count, const Tensor& means, const Tensor& m2, double correction,
             double momentum, const Tensor& mean, const Tensor& var, const Tensor& steps)

}  // namespace norma
