// What the ops of the norm family (ops/norm/norm.h, ops/norm/norm_max_pool.h) and their kernels, for the CPU and for
// CUDA, have in common. Not for users of the library.
#pragma once

#include "norma/autograd/op.h"
#include "norma/ops/norm/norm.h"
#include "norma/ops/norm/plan.h"

namespace norma {

// What the forward pass leaves for the gradient: `cells`, f64 [kNormCellParts, sets * groups], a row for each of these.
enum NormCellPart : int64_t {
  kCellCount,   // elements
  kCellM2,      // sum of squared deviations from the cell's own mean; without centering from 0. Of what shares a
                // variance, shared out evenly
  kCellMean,    // that it is normalized by; 0 without centering
  kCellInv,     // y = gamma ((x - mean) inv + offset) + beta
  kCellRstd,    // 1 / s
  kCellOffset,  // renorm's d
  kCellShare,   // of an element in the mean and the variance, as the gradient sees it: alpha / count
  kCellOwn,     // the mean of x, from which that mean may differ where statistics are mixed; of given ones, anything
  kNormCellParts
};

// What the kernels of both directions are told: the arguments of norm(), checked and made ready.
struct NormCall : NormOptions, Statistics {
  NormCall(const Op& op, const std::vector<Tensor>& xs, const Grouping& grouping, const Statistics& statistics,
           const Tensor& gamma, const Tensor& beta, const NormOptions& options);

  NormPlan plan;
  Communicator* comm;  // merges the moments of several workers; null: this one only
  // alpha has a gradient, for which the kernels keep the sums that dgamma and dbeta would have by set. Then there are
  // neither gamma nor beta, nor what would be fused.
  bool learns_alpha = Op::records({alpha});
  Tensor gamma, beta;  // contiguous; undefined: 1, 0
  Tensor population;   // f64 [3, entries], mean (0 without centering), var, alpha (1: of the cell, 0: given); entries
                       // divide the cells. Undefined for the source batch
  Tensor cells;        // which the forward pass fills
  // The deviation of a cell is so large or small (or NaN) that its squares, or the gradient's factors, may be beyond
  // float. Set by the forward pass on the CPU; CUDA scales such sums (cuda/sums.h).
  mutable bool far_out = false;
  std::vector<Saved> saved{};  // what must not be written to while a rule keeps the call
  Tensor away{};  // of a learned alpha, f64 [2, sets, groups]: from the population's variance and mean to the cell's

  // Under a grouping across workers, merges their moments (Chan's rule, by rank), and checks the cells' sizes, which
  // were not known before.
  void merge_over_workers() const;
  bool measured() const { return source != Source::given; }
  Tensor part(NormCellPart k) const { return view::reshape(view::slice(cells, 0, k, k + 1), {plan.sets, plan.groups}); }
  Moments cell_moments() const;  // a copy of those of the cells
  void save(const Op& op);       // for a rule that keeps the call
  // For a rule whose inputs `first` and the next are gamma and beta: dgamma and dbeta, f64 [2, sets or 1, entries], 0
  // until a kernel adds to them; undefined where neither is wanted. And what hands them over.
  Tensor affine_gradients(const Sink& sink, size_t first) const;
  void give(const Tensor& affine, Sink& sink, size_t first) const;
  Tensor alpha_gradient(const Tensor& affine) const;
};

// Whether p, gamma or beta, has a row for each sample.
bool is_by_sample(const Tensor& p, const Grouping& grouping);

// Lists have one entry for each x. Residuals and masks are undefined where there are none.
struct NormOutputs {
  std::span<const Tensor> residual, y, mask;  // mask: u8, where the activation passes dy on (with residual only)
};
struct NormGradients {
  std::span<const Tensor> mask, dy;
  // Undefined: not wanted. One of the two may be dy itself: all sums come before the first write.
  std::span<const Sink::Target> dx, dresidual;
  const Tensor& affine;  // of NormCall::affine_gradients
};

// Fills y, mask and the call's cells.
NORMA_SIMD_KERNEL(norm_forward, std::span<const Tensor> x, const NormCall& call, const NormOutputs& to)
NORMA_SIMD_KERNEL(norm_backward, std::span<const Tensor> x, const NormCall& call, const NormGradients& to)
// Fills only the counts, means and M2 of the cells.
NORMA_SIMD_KERNEL(norm_moments, std::span<const Tensor> x, const NormCall& call)

}  // namespace norma
