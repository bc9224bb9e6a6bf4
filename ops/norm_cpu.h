// Inside of the norm family's CPU kernel, for ops/norm_cpu.cc and ops/norm_cpu_rows.cc. Not a public header.
#pragma once

#include <algorithm>
#include <cmath>

#include "norma/ops/norm.h"

namespace norma {

// The rows of `cells`, by name.
struct CellArrays {
  double *count, *mean, *m2, *inv, *rstd, *offset;
  CellArrays(double* cells, int64_t n)
      : count(cells + kCellCount * n),
        mean(cells + kCellMean * n),
        m2(cells + kCellM2 * n),
        inv(cells + kCellInv * n),
        rstd(cells + kCellRstd * n),
        offset(cells + kCellOffset * n) {}
};

// What a population (f64 [2, entries], mean then var; entries divide the cells) says of a cell.
struct Population {
  const double* mean = nullptr;
  const double* var = nullptr;
  int64_t entries = 0;
  explicit Population(const Tensor& x) {
    if (!x.defined()) return;
    entries = x.numel() / 2;
    mean = x.data<double>();
    var = mean + entries;
  }
};

// Completes cells [begin, end) from their mean and M2, or from the population.
inline void solve_cells(const NormSpec& spec, const Population& population, const CellArrays& cells, int64_t begin,
                        int64_t end) {
  if (spec.source == Statistics::Source::given) {
    for (int64_t i = begin; i < end; ++i) {
      cells.count[i] = cells.m2[i] = cells.offset[i] = 0;
      cells.mean[i] = spec.center ? population.mean[i % population.entries] : 0;
      cells.inv[i] = cells.rstd[i] = 1 / std::sqrt(population.var[i % population.entries] + spec.eps);
    }
    return;
  }
  for (int64_t i = begin; i < end; ++i) {
    const double count = cells.count[i], mean = cells.mean[i];
    const double var = cells.m2[i] / (count > 0 ? count : 1) + (spec.center ? 0 : mean * mean);  // E[x^2] about 0
    cells.mean[i] = spec.center ? mean : 0;
    cells.inv[i] = cells.rstd[i] = 1 / std::sqrt(var + spec.eps);
    cells.offset[i] = 0;
  }
  if (spec.source != Statistics::Source::renorm) return;
  for (int64_t i = begin; i < end; ++i) {
    const double deviation = std::sqrt(population.var[i % population.entries] + spec.eps);
    cells.inv[i] *= std::clamp(1 / (cells.rstd[i] * deviation), 1 / spec.r_max, spec.r_max);
    cells.offset[i] =
        std::clamp((cells.mean[i] - population.mean[i % population.entries]) / deviation, -spec.d_max, spec.d_max);
  }
}

template <class T>
void norm_rows_forward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                       const Tensor& population, const Tensor& cells, const NormTensors& tensors);
template <class T>
void norm_rows_backward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                        const Tensor& cells, const Tensor& dgamma, const Tensor& dbeta, const NormGradients& tensors);
template <class T>
void norm_rows_moments(const NormPlan& plan, const Tensor& cells, const Tensor& x);

}  // namespace norma
