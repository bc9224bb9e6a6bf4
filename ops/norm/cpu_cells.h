// The cells of a norm on the CPU, as arrays: loops over the formulae of ops/norm/cell_math.h that vectorise, from
// moments to what the passes over the elements multiply by. No element of x is read here. Not a public header.
#pragma once

#include <algorithm>
#include <utility>

#include "norma/core/simd/vectors.h"
#include "norma/ops/norm/cell_math.h"
#include "norma/ops/norm/kernels.h"

NORMA_SIMD_BEGIN
namespace norm_kernel {

// A thread's scratch memory of n values, kept from call to call; `which` tells buffers that are in use together apart.
template <class T, int which>
T* scratch(int64_t n) {
  static thread_local PoolVector<T> room;
  if (std::ssize(room) < n) room.resize(n);
  return room.data();
}

// The data of all tensors of a list. Asked for once a call: a tensor checks its shape each time.
template <class T>
PoolVector<const T*> data_of_all(std::span<const Tensor> list) {
  PoolVector<const T*> all;
  for (const Tensor& x : list) all.push_back(x.data<T>());
  return all;
}

// The rows of NormCall::cells (NormCellPart) by name, of n cells.
struct CellArrays {
  int64_t size;
  double *count, *m2, *mean, *inv, *rstd, *offset, *share, *own;
  CellArrays(double* cells, int64_t n) : size(n) {
    for (double** part : {&count, &m2, &mean, &inv, &rstd, &offset, &share, &own})
      *part = std::exchange(cells, cells + n);
  }
  // The gradient only reads them.
  explicit CellArrays(const NormCall& call)
      : CellArrays(const_cast<double*>(call.cells.data<double>()), call.plan.cells()) {
    if (call.source == Statistics::Source::batch) own = mean;  // equal: no other memory is read
  }
};

// What follows of cells [begin, end) from their moments; without centering these become such about 0. False if a
// deviation is beyond what float computes with (NormCall::far_out).
inline bool solve_measured(const CellArrays& cells, int64_t begin, int64_t end, bool center, double eps) {
  const auto [size, count, m2, mean, inv, rstd, offset, share, own] = cells;
  int64_t near = begin;
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) {
    const double variance = cell_variance(count[i], mean[i], m2[i], center);
    inv[i] = rstd[i] = cell_rstd(variance, eps);
    share[i] = 1 / (count[i] > 1 ? count[i] : 1);
    offset[i] = 0;
    near += variance <= 0x1p80;
  }
  for (int64_t i = begin; i < end && eps < 0x1p-80; ++i) near -= rstd[i] > 0x1p40;
  for (int64_t i = begin; i < end && !center; ++i) {
    m2[i] += count[i] * mean[i] * mean[i];
    mean[i] = 0;
  }
  return near == end;
}

// Completes cells [begin, end) from their moments, or from the population.
inline void solve_cells(const NormCall& call, const CellArrays& cells, int64_t begin, int64_t end) {
  for (int64_t i = begin, pool = call.plan.pool; i < end && pool > 1; i += pool) share_evenly(cells.m2 + i, pool);
  if (call.measured() && !solve_measured(cells, begin, end, call.center, call.eps))
    __atomic_store_n(&call.far_out, true, __ATOMIC_RELAXED);
  if (call.source == Statistics::Source::batch) return;
  const int64_t entries = call.population.dim(1);
  const double *mean = call.population.data<double>(), *var = mean + entries, *alpha = var + entries;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t entry = i % entries;
    const double variance = cell_variance(cells.count[i], cells.mean[i], cells.m2[i], true);
    const SolvedCell solved =
        solve_cell(cells.count[i], cells.mean[i], variance, call.eps, mean[entry], var[entry], alpha[entry],
                   call.of_mixture, call.source == Statistics::Source::renorm, call.r_max, call.d_max);
    for (int64_t k = 0; double part : solved.parts) cells.mean[k++ * cells.size + i] = part;
  }
}

// A value for each channel of a set.
struct ChannelStatistics {
  const double *mean, *inv, *offset;
};

// From the sums of dy and dy (x - high) of n channels: those of g = gamma inv dy and of g (x - mean), and what they add
// to dgamma and dbeta.
template <class T>
void weigh_sums(int64_t n, const ChannelStatistics& s, const double* __restrict gamma, const double* __restrict sum,
                const double* __restrict sum_x, double* __restrict of_g, double* __restrict of_g_x,
                double* __restrict dgamma, double* __restrict dbeta) {
  const double* __restrict mean = s.mean, * __restrict inv = s.inv, * __restrict offset = s.offset;
  for (int64_t c = 0; c < n; ++c) {
    const double about_mean = sum_x[c] - low_part<T>(mean[c]) * sum[c], weight = gamma[c] * inv[c];
    of_g[c] = weight * sum[c];
    of_g_x[c] = weight * about_mean;
    dgamma[c] += inv[c] * about_mean + offset[c] * sum[c];
    dbeta[c] += sum[c];
  }
}

// In place, from the sums over n cells from `first` on of g (x - mean) and of g, the slope and offset of their
// gradient; each `pool` cells in turn share a variance.
inline void solve_gradients(const CellArrays& cells, int64_t first, int64_t n, int64_t pool, bool center,
                            double* __restrict slope, double* __restrict offset) {
  const double *share = cells.share + first, *rstd = cells.rstd + first, *mean = cells.mean + first,
               *own = cells.own + first;
  const bool plain = own == mean;
  for (int64_t i = 0; i < n; ++i) slope[i] = gradient_slope(slope[i], share[i], rstd[i], plain);
  for (int64_t i = 0; i < n && pool > 1; i += pool) share_evenly(slope + i, pool);
  for (int64_t i = 0; i < n; ++i)
    offset[i] = center ? gradient_offset(offset[i], share[i], slope[i], own[i] - mean[i], plain) : 0;
}

// Calls f(size) with a constant for the usual group sizes: loops over a size that the compiler knows vectorise.
template <class F>
void with_group_size(int64_t size, F&& f) {
  if (size == 2) f(std::integral_constant<int64_t, 2>());
  else if (size == 4) f(std::integral_constant<int64_t, 4>());
  else if (size == 8) f(std::integral_constant<int64_t, 8>());
  else if (size == 16) f(std::integral_constant<int64_t, 16>());
  else f(size);
}

// The values of n groups, each for all of its channels.
inline void spread_groups(const double* __restrict values, int64_t n, int64_t group_size, double* __restrict to) {
  with_group_size(group_size, [=](auto size) {
    for (int64_t g = 0; g < n; ++g)
      for (int64_t c = 0; c < size; ++c) to[g * size + c] = values[g];
  });
}

// The sums of n groups over their channels.
inline void sum_groups(const double* __restrict values, int64_t n, int64_t group_size, double* __restrict to) {
  with_group_size(group_size, [=](auto size) {
    for (int64_t g = 0; g < n; ++g) {
      double sum = 0;
      for (int64_t c = 0; c < size; ++c) sum += values[g * size + c];
      to[g] = sum;
    }
  });
}

// Count, mean and sum of squared deviations of each of C channels, which all have seen as many elements.
struct ChannelMoments {
  double count = 0;
  double* mean;  // [C]
  double* m2;    // [C]

  // Merges `n` elements a channel, by Chan's rule: get(c) gives their mean and sum of squared deviations.
  template <class F>
  NORMA_INLINE void merge(int64_t channels, double n, F&& get) {
    const double both = count + n, weight = n / both, cross = count * weight;
    double* __restrict to_mean = mean, * __restrict to_m2 = m2;
    for (int64_t c = 0; c < channels; ++c) {
      const auto [other_mean, other_m2] = get(c);
      const double delta = other_mean - to_mean[c];
      to_mean[c] += delta * weight;
      to_m2[c] += other_m2 + delta * delta * cross;
    }
    count = both;
  }
  void merge(int64_t channels, double n, const double* __restrict means, const double* __restrict m2s) {
    merge(channels, n, [=](int64_t c) NORMA_INLINE { return std::pair(means[c], m2s[c]); });
  }
  // Of elements whose deviations from `shift` have the sums s and q (of squares).
  template <class T, class Sum>
  void merge_shifted(int64_t channels, double n, const T* __restrict shift, const Sum* __restrict s,
                     const Sum* __restrict q) {
    merge(channels, n, [=, inverse = 1 / n](int64_t c) NORMA_INLINE {
      const double sum = s[c], square = q[c] - sum * sum * inverse;
      return std::pair(shift[c] + sum * inverse, square > 0 ? square : 0);
    });
  }
};

// The cells of a set from the moments of its channels, merged group by group.
inline void store_cells(const NormPlan& plan, const ChannelMoments& channel, const CellArrays& cells, int64_t set) {
  const int64_t first = set * plan.groups;
  if (plan.group_size == 1) {
    std::fill_n(cells.count + first, plan.groups, channel.count);
    std::copy_n(channel.mean, plan.groups, cells.mean + first);
    std::copy_n(channel.m2, plan.groups, cells.m2 + first);
    return;
  }
  // All channels count alike: the mean of the means, and the squares of what is between them.
  with_group_size(plan.group_size, [&](auto size) {
    const double inverse = 1 / static_cast<double>(size), rows = channel.count;
    double *__restrict count = cells.count + first, *__restrict to_mean = cells.mean + first,
                       *__restrict to_m2 = cells.m2 + first;
    for (int64_t g = 0; g < plan.groups; ++g) {
      const double *means = channel.mean + g * size, *m2s = channel.m2 + g * size;
      double away = 0, m2 = 0, between = 0;
      for (int64_t c = 0; c < size; ++c) away += means[c] - means[0];
      const double mean = means[0] + away * inverse;
      for (int64_t c = 0; c < size; ++c) {
        m2 += m2s[c];
        between += (means[c] - mean) * (means[c] - mean);
      }
      count[g] = rows * static_cast<double>(size);
      to_mean[g] = mean;
      to_m2[g] = m2 + rows * between;
    }
  });
}

// Adds parts [2, C] of dgamma and dbeta to these, where they are wanted: equally many in turn to each, as are the
// positions where these are channels.
inline void sum_affine_gradients(const NormPlan& plan, std::span<const double> parts, const Tensor& affine) {
  if (!affine.defined()) return;
  const int64_t channels = plan.channels, size = plan.affine_size();
  double* const first = affine.mutable_data<double>();
  for (int64_t i = 0; i < std::ssize(parts) / channels; ++i) {  // of dgamma and dbeta in turn
    const double* from = parts.data() + i * channels;
    double* to = first + (i % 2 * affine.dim(1) + i * channels * plan.affine_sets / std::ssize(parts)) * size;
    for (int64_t at = 0; at < plan.normalized; at += plan.affine_channels)
      for (int64_t c = 0; c < size; ++c) to[c] += from[at + c];
  }
}

}  // namespace norm_kernel
NORMA_SIMD_END
