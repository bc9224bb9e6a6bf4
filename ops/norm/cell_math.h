// The arithmetic of a cell, each formula once, for the CPU and the CUDA kernels of the norm family: from moments to the
// columns of numbers that the passes over x multiply by, both ways. Scalars in double; loops over them are the
// kernels'. No op.
//
// With M elements in the cell, s = sqrt(var + eps) and rstd = 1 / s, the two passes over x compute
//
//   y  = (x - high) scale + shift
//   dx = scale dy - (x - high) slope - offset
//
// where high is the mean, rounded to x's dtype so that x - high keeps its digits.
#pragma once

#include <cmath>
#include <cstdint>

#include "norma/core/host_device.h"

namespace norma {

// The variance by which a cell is divided: about its mean, or without centering about 0.
NORMA_HOST_DEVICE inline double cell_variance(double count, double mean, double m2, bool center) {
  return m2 / (count > 1 ? count : 1) + (center ? 0 : mean * mean);
}

NORMA_HOST_DEVICE inline double cell_rstd(double variance, double eps) { return 1 / std::sqrt(variance + eps); }

// Shares values out evenly: the M2, or the gradient's sums of g (x - mean), of cells that share a variance. These have
// as many elements each.
NORMA_HOST_DEVICE inline void share_evenly(double* values, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += values[i];
  for (int64_t i = 0; i < n; ++i) values[i] = sum / static_cast<double>(n);
}

// From kCellMean on, in the order of NormCellPart.
struct SolvedCell {
  double parts[6];
};
// Of a cell of `count` elements with these moments, which count alpha, and its entry of a population, which counts the
// rest, or `of_mixture` with what lies between the means; of batch renorm, where alpha is 1, with the corrections
// towards the population: y = gamma (xhat r + d) + beta.
NORMA_HOST_DEVICE inline SolvedCell solve_cell(double count, double mean, double variance, double eps,
                                               double population_mean, double population_var, double alpha,
                                               bool of_mixture, bool renorm, double r_max, double d_max) {
  const auto mixed = [=](double own, double other) {  // what does not count may be anything
    return alpha == 0 ? other : alpha == 1 ? own : alpha * own + (1 - alpha) * other;
  };
  const double away = of_mixture && alpha > 0 && alpha < 1 ? mean - population_mean : 0,
               center = mixed(mean, population_mean),
               rstd = cell_rstd(mixed(variance, population_var) + alpha * (1 - alpha) * away * away, eps),
               share = alpha == 0 ? 0 : alpha / (count > 1 ? count : 1);
  if (!renorm) return {center, rstd, rstd, 0, share, mean};
  const double s = std::sqrt(population_var + eps), r = 1 / (rstd * s), d = (mean - population_mean) / s;
  return {mean,  rstd * (r < 1 / r_max ? 1 / r_max : r > r_max ? r_max : r),
          rstd,  d < -d_max ? -d_max : d > d_max ? d_max : d,
          share, mean};
}

// What the rounding of the mean to T left.
template <class T>
NORMA_HOST_DEVICE inline double low_part(double mean) {
  return mean - static_cast<T>(mean);
}

// high, scale and shift: y = gamma ((x - mean) inv + offset) + beta in terms of x - high.
template <class T>
struct ForwardColumn {
  T high, scale, shift;
  NORMA_HOST_DEVICE T operator()(T x) const { return (x - high) * scale + shift; }
};
template <class T>
NORMA_HOST_DEVICE inline ForwardColumn<T> forward_column(double mean, double inv, double offset, double gamma = 1,
                                                         double beta = 0) {
  const double weight = gamma * inv;
  return {static_cast<T>(mean), static_cast<T>(weight),
          static_cast<T>(beta + gamma * offset - low_part<T>(mean) * weight)};
}

// slope and offset, in double and about the mean itself, from the sums over the cell of g = gamma inv dy and of
// g (x - mean), from its kCellShare, and from how far kCellOwn is from kCellMean. (What has no share, or no slope, may
// be anything, as infinite.) Of the source batch, as `plain` says, all have a share, and nothing is away.
NORMA_HOST_DEVICE inline double gradient_slope(double sum_of_g_x, double share, double rstd, bool plain = false) {
  return plain || share != 0 ? sum_of_g_x * (share * rstd * rstd) : 0;
}
NORMA_HOST_DEVICE inline double gradient_offset(double sum_of_g, double share, double slope, double away,
                                                bool plain = false) {
  if (plain) return sum_of_g * share;
  return (share != 0 ? sum_of_g * share : 0) - (slope != 0 ? slope * away : 0);
}
// That offset in terms of x - high.
template <class T>
NORMA_HOST_DEVICE inline double offset_from_high(double offset, double slope, double mean) {
  return offset - low_part<T>(mean) * slope;
}

// Moves the population of one group, row * groups + g, towards what the cells of that row say: the mean of their means,
// and of their variances m2 / (M - correction). False where none holds more elements than that: nothing moves then.
NORMA_HOST_DEVICE inline bool follow_group(int64_t row, int64_t rows, int64_t g, int64_t groups, int64_t sets,
                                           const double* count, const double* mean, const double* m2, double correction,
                                           double weight_of_new, double* own_mean, double* own_var) {
  double mean_sum = 0, var_sum = 0, cells = 0;
  for (int64_t i = row * groups + g; i < sets * groups; i += rows * groups) {
    if (count[i] <= correction) continue;
    mean_sum += mean[i];
    var_sum += m2[i] / (count[i] - correction);
    ++cells;
  }
  if (cells == 0) return false;
  double &a = own_mean[row * groups + g], &b = own_var[row * groups + g];
  a = (1 - weight_of_new) * a + weight_of_new * mean_sum / cells;
  b = (1 - weight_of_new) * b + weight_of_new * var_sum / cells;
  return true;
}

}  // namespace norma
