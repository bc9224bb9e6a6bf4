// Inside of the norm family's CPU kernel, for ops/norm/norm_cpu.cc and ops/norm/norm_cpu_rows.cc. Not a public header.
#pragma once

#include <algorithm>
#include <cmath>

#include "norma/core/simd/vectors.h"
#include "norma/ops/norm/norm.h"

NORMA_SIMD_BEGIN

// A thread's scratch memory of n values, kept from call to call; `which` tells buffers that are in use together apart.
template <class T, int which>
T* scratch(int64_t n) {
  static thread_local PoolVector<T> room;
  if (room.size() < static_cast<size_t>(n)) room.resize(static_cast<size_t>(n));
  return room.data();
}

// The data of a list's i-th tensor; null where there is none.
template <class T>
const T* data_of(std::span<const Tensor> list, size_t i) {
  return list.empty() ? nullptr : list[i].data<T>();
}
template <class T>
T* mutable_data_of(std::span<const Tensor> list, size_t i) {
  return list.empty() || !list[i].defined() ? nullptr : list[i].mutable_data<T>();
}

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

// rstd from the mean and M2 of n cells; without centering, the mean becomes 0 and the variance E[x^2].
inline void solve_measured(int64_t n, const double* __restrict count, double* __restrict mean,
                           const double* __restrict m2, double eps, bool center, double* __restrict inv,
                           double* __restrict rstd, double* __restrict offset) {
  const double about = center ? 0 : 1, keep = center ? 1 : 0;
  for (int64_t i = 0; i < n; ++i) {
    const double elements = count[i] > 1 ? count[i] : 1,
                 root = std::sqrt(m2[i] / elements + about * mean[i] * mean[i] + eps);
    mean[i] *= keep;
    inv[i] = rstd[i] = 1 / root;
    offset[i] = 0;
  }
}

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
  solve_measured(end - begin, cells.count + begin, cells.mean + begin, cells.m2 + begin, spec.eps, spec.center,
                 cells.inv + begin, cells.rstd + begin, cells.offset + begin);
  if (spec.source != Statistics::Source::renorm) return;
  for (int64_t i = begin; i < end; ++i) {
    const double deviation = std::sqrt(population.var[i % population.entries] + spec.eps);
    cells.inv[i] *= std::clamp(1 / (cells.rstd[i] * deviation), 1 / spec.r_max, spec.r_max);
    cells.offset[i] =
        std::clamp((cells.mean[i] - population.mean[i % population.entries]) / deviation, -spec.d_max, spec.d_max);
  }
}

// dgamma and dbeta, where they are wanted (f64 [affine sets, affine channels]), from parts [2, C] of them. Each is a
// set's (`per_set`), or they are to be added, as are the positions where these are channels.
inline void sum_affine_gradients(const NormPlan& plan, bool per_set, std::span<const double> parts,
                                 const Tensor& dgamma, const Tensor& dbeta) {
  const int64_t channels = plan.channels, size = plan.affine_size();
  for (int64_t half = 0; half < 2; ++half) {
    const Tensor& out = half == 0 ? dgamma : dbeta;
    if (!out.defined()) continue;
    double* to = out.mutable_data<double>();
    std::fill_n(to, out.numel(), 0.0);
    for (int64_t part = 0; part < std::ssize(parts) / (2 * channels); ++part) {
      const double* from = parts.data() + (part * 2 + half) * channels;
      double* set = to + (per_set ? part * size : 0);
      for (int64_t at = 0; at < plan.normalized; at += plan.affine_channels)
        for (int64_t c = 0; c < size; ++c) set[c] += from[at + c];
    }
  }
}

namespace norm_rows {

// Columns from the statistics and parameters of n channels.
template <class T>
void fill_columns(int64_t n, const double* __restrict mean, const double* __restrict inv,
                  const double* __restrict offset, const double* __restrict gamma, const double* __restrict beta,
                  T* __restrict high, T* __restrict scale, T* __restrict shift) {
  for (int64_t c = 0; c < n; ++c) {
    const double weight = gamma[c] * inv[c];
    const T rounded = static_cast<T>(mean[c]);
    high[c] = rounded;
    scale[c] = static_cast<T>(weight);
    shift[c] = static_cast<T>(beta[c] + gamma[c] * offset[c] - (mean[c] - rounded) * weight);
  }
}

// dx = scale dy - (x - mean) slope - offset, in terms of x - high.
template <class T>
void fill_gradient_columns(int64_t n, const double* __restrict mean, const double* __restrict by_slope,
                           const double* __restrict by_offset, T* __restrict slope, T* __restrict offset) {
  for (int64_t c = 0; c < n; ++c) {
    slope[c] = static_cast<T>(by_slope[c]);
    offset[c] = static_cast<T>(by_offset[c] - (mean[c] - static_cast<T>(mean[c])) * by_slope[c]);
  }
}

// From the sums of dy and dy (x - high) of n channels: those of gamma inv dy and gamma inv dy (x - mean), and what they
// add to dgamma and dbeta.
template <class T>
void weigh_sums(int64_t n, const double* __restrict mean, const double* __restrict inv, const double* __restrict offset,
                const double* __restrict gamma, const double* __restrict sum, const double* __restrict sum_x,
                double* __restrict weighted, double* __restrict weighted_x, double* __restrict dgamma,
                double* __restrict dbeta) {
  for (int64_t c = 0; c < n; ++c) {
    const double about_mean = sum_x[c] - (mean[c] - static_cast<T>(mean[c])) * sum[c], weight = gamma[c] * inv[c];
    weighted[c] = weight * sum[c];
    weighted_x[c] = weight * about_mean;
    dgamma[c] += inv[c] * about_mean + offset[c] * sum[c];
    dbeta[c] += sum[c];
  }
}

// From the sums over n cells of gamma inv dy (x - mean) and of gamma inv dy, the slope and offset of their gradient.
inline void means_of_totals(int64_t n, const double* __restrict count, const double* __restrict rstd, bool measured,
                            bool center, double* __restrict by_x, double* __restrict plain) {
  const double of_slope = measured ? 1 : 0, of_offset = measured && center ? 1 : 0;
  for (int64_t i = 0; i < n; ++i) {
    const double inverse = 1 / (count[i] > 1 ? count[i] : 1);
    by_x[i] *= of_slope * inverse * rstd[i] * rstd[i];
    plain[i] *= of_offset * inverse;
  }
}

// Calls f.operator()<kSize>() for a group size; 0: any other. Loops over a size that the compiler knows vectorise.
template <class F>
void with_group_size(int64_t size, F&& f) {
  if (size == 2) f.template operator()<2>();
  else if (size == 4) f.template operator()<4>();
  else if (size == 8) f.template operator()<8>();
  else if (size == 16) f.template operator()<16>();
  else f.template operator()<0>();
}

// The values of n groups, each for all of its channels.
inline void spread_groups(const double* __restrict values, int64_t n, int64_t group_size, double* __restrict to) {
  with_group_size(group_size, [=]<int64_t kSize>() {
    const int64_t size = kSize > 0 ? kSize : group_size;
    for (int64_t g = 0; g < n; ++g)
      for (int64_t c = 0; c < size; ++c) to[g * size + c] = values[g];
  });
}

// The sums of n groups over their channels.
inline void sum_groups(const double* __restrict values, int64_t n, int64_t group_size, double* __restrict to) {
  with_group_size(group_size, [=]<int64_t kSize>() {
    const int64_t size = kSize > 0 ? kSize : group_size;
    for (int64_t g = 0; g < n; ++g) {
      double sum = 0;
      for (int64_t c = 0; c < size; ++c) sum += values[g * size + c];
      to[g] = sum;
    }
  });
}

}  // namespace norm_rows

template <class T>
void norm_rows_forward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                       const Tensor& population, const Tensor& cells, const NormTensors& tensors);
template <class T>
void norm_rows_backward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                        const Tensor& cells, const Tensor& dgamma, const Tensor& dbeta, const NormGradients& tensors);
template <class T>
void norm_rows_moments(const NormPlan& plan, const Tensor& cells, const Tensor& x);

NORMA_SIMD_END
