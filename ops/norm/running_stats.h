// The arithmetic of follow_moments (ops/norm/moments.h), for CPU and CUDA kernels alike. No op.
#pragma once

#include <cstdint>

#include "norma/core/host_device.h"

namespace norma {

// Moves the population of one group, row * groups + g, towards what the cells of that row say: the mean of their means,
// and of their variances corrected by M / (M - 1). False where none holds two elements: nothing moves then.
NORMA_HOST_DEVICE inline bool follow_group(int64_t row, int64_t rows, int64_t g, int64_t groups, int64_t sets,
                                           const double* count, const double* mean, const double* m2,
                                           double weight_of_new, double* own_mean, double* own_var) {
  double mean_sum = 0, var_sum = 0, cells = 0;
  for (int64_t i = row * groups + g; i < sets * groups; i += rows * groups) {
    if (count[i] < 2) continue;
    mean_sum += mean[i];
    var_sum += m2[i] / (count[i] - 1);
    ++cells;
  }
  if (cells == 0) return false;
  double &a = own_mean[row * groups + g], &b = own_var[row * groups + g];
  a = (1 - weight_of_new) * a + weight_of_new * mean_sum / cells;
  b = (1 - weight_of_new) * b + weight_of_new * var_sum / cells;
  return true;
}

}  // namespace norma
