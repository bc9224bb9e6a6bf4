// The normalization family: one op for every grouping (ops/norm/grouping.h) and every source of statistics.
//
//   y = f(gamma * (x - mean) / sqrt(var + eps) + beta + residual)
//
// f is an activation; mean and var (biased) are those of each element's cell. With s = sqrt(var + eps), xhat = (x -
// mean) / s, dy behind the activation, g = dy * gamma, and means taken over the cell:
//
//   batch    dx = (g - mean(g) - xhat mean(g xhat)) / s       dgamma = sum dy xhat       dbeta = sum dy
//   given    dx = g / s: y is affine in x
//   renorm   r = clip(s / s_pop, 1/r_max, r_max), d = clip((mean - mean_pop) / s_pop, -d_max, d_max), both constants;
//            y = gamma (xhat r + d) + beta; g = dy gamma r;  dgamma = sum dy (xhat r + d)         (Ioffe 2017)
//   without centering (RMS norm: mean = 0, var = E[x^2]) the term mean(g) is left out              (Zhang & Sennrich
//   2019)
#pragma once

#include <vector>

#include "norma/ops/elementwise/activation.h"
#include "norma/ops/kernel.h"
#include "norma/ops/norm/grouping.h"
#include "norma/ops/norm/moments.h"

namespace norma {

class Op;

// Where the statistics come from.
struct Statistics {
  enum class Source : uint8_t { batch, given, renorm };
  Source source = Source::batch;
  Tensor mean{}, var{};  // given, renorm: of the population, one entry a channel group [G] or a cell [sets, G]
  double r_max = 0, d_max = 0;

  static Statistics batch() { return {}; }  // of the cell; the gradient goes through them
  static Statistics given(const Tensor& mean, const Tensor& var) { return {Source::given, mean, var}; }
  static Statistics renorm(const Tensor& mean, const Tensor& var, double r_max = 3, double d_max = 5) {
    return {Source::renorm, mean, var, r_max, d_max};
  }
};

struct NormOptions {
  double eps = 1e-5;
  Activation activation{};
  bool center = true;    // false: RMS norm
  int64_t leading = -1;  // >= 0: normalize the first so many channels, the rest pass through (half instance norm)
  std::vector<Tensor> residual{};  // added before the activation: one for each x, of its shape
  Moments* moments = nullptr;      // where to put the cells' moments (sources batch and renorm)
};

// x [N, ..., C] -> its shape. gamma, beta: [C], or [sets, C] where the sets of samples have their own; undefined: 1 and
// 0. With `leading`, gamma and beta have that many entries. Errors: shapes and groupings that do not fit; a cell of a
// single element in the sources batch and renorm (its variance is 0 whatever its value), which names the cell.
Tensor norm(const Tensor& x, const Grouping& grouping, const Statistics& statistics, const Tensor& gamma,
            const Tensor& beta, const NormOptions& options = {});
// Several tensors, of any spatial sizes, that share the statistics (a head applied to the levels of a pyramid).
std::vector<Tensor> norm(const std::vector<Tensor>& xs, const Grouping& grouping, const Statistics& statistics,
                         const Tensor& gamma, const Tensor& beta, const NormOptions& options = {});

// --- For the kernels.

struct NormSpec {
  Statistics::Source source;
  Activation activation;
  double eps;
  bool center;
  double r_max, d_max;
  bool keep_moments;   // the caller reads counts and M2 from the cells
  Communicator* comm;  // merges the moments of several workers; null: this one only
};

// What the forward pass leaves for the gradient: `cells` f64 [kNormCellParts, sets * groups], a row for each of
enum NormCellPart : int64_t {
  kCellCount,   // elements
  kCellMean,    // 0 without centering
  kCellM2,      // sum of squared deviations from the cell's own mean
  kCellInv,     // y = gamma ((x - mean) inv + offset) + beta
  kCellRstd,    // 1 / s
  kCellOffset,  // renorm's d
  kNormCellParts
};

// What the ops of the family begin with: their arguments, checked and made ready.
struct NormArguments {
  NormArguments(const Op& op, const std::vector<Tensor>& xs, const Grouping& grouping, const Statistics& statistics,
                const Tensor& gamma, const Tensor& beta, const NormOptions& options);
  NormPlan plan;
  NormSpec spec;
  Tensor weight, bias;  // gamma and beta, contiguous
  Tensor population;    // f64 [2, G or sets * G], mean then var; undefined for the source batch
  Tensor cells;         // to be filled
};

struct NormTensors {                             // one entry for each x, or none
  std::span<const Tensor> x, residual, y, mask;  // mask: u8, where the pre-activation is positive (with residual only)
};
struct NormGradients {
  // Undefined dx, dresidual: not wanted. One of the two may be dy itself: all sums come before the first write.
  std::span<const Tensor> x, mask, dy, dx, dresidual;
  std::span<const char> add_dx, add_dresidual;
};

// Fills y, mask and cells.
NORMA_SIMD_KERNEL(norm_forward, const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                  const Tensor& population, const Tensor& cells, const NormTensors& tensors)
// dgamma, dbeta: f64 [affine sets, affine channels], undefined where not wanted; assigned.
NORMA_SIMD_KERNEL(norm_backward, const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                  const Tensor& cells, const Tensor& dgamma, const Tensor& dbeta, const NormGradients& tensors)
// Only the counts, means and M2 of `cells`.
NORMA_SIMD_KERNEL(norm_moments, const NormPlan& plan, const Tensor& cells, std::span<const Tensor> xs)

// Merges the cells of all workers (Chan's rule, by rank).
void reduce_norm_cells(Communicator& comm, const Tensor& cells);
void sum_over_workers(Communicator& comm, std::span<double> values);  // by rank
Moments moments_of_cells(const Tensor& cells, const NormPlan& plan);

}  // namespace norma
