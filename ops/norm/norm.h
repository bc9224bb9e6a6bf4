// The normalization family: one op for every grouping (ops/norm/grouping.h) and every source of statistics.
//
//   y = f(gamma * (x - mean) / sqrt(var + eps) + beta + residual) + post_bias
//
// f is an activation; mean and var (biased) are those of each element's cell. With s = sqrt(var + eps),
// xhat = (x - mean) / s, dy behind the activation, g = dy * gamma, and means taken over the cell:
//
//   batch    dx = (g - mean(g) - xhat mean(g xhat)) / s       dgamma = sum dy xhat       dbeta = sum dy
//   given    dx = g / s: y is affine in x
//   renorm   r = clip(s / s_pop, 1/r_max, r_max), d = clip((mean - mean_pop) / s_pop, -d_max, d_max), both constants;
//            y = gamma (xhat r + d) + beta; g = dy gamma r;  dgamma = sum dy (xhat r + d)         (Ioffe 2017)
//   mixed    mean_a = a mean + (1 - a) mean_pop, var_a likewise, and s, xhat by these;
//            dx = (g - a mean(g) - a (x - mean) / s mean(g xhat)) / s                        (Schneider et al. 2020)
//            da = - (mean - mean_pop) sum(g) / s - (var + eps - s_pop^2) sum(g xhat) / (2 s^2)
//            of the mixture of both, var_a + a (1 - a) (mean - mean_pop)^2 in place of var_a, (x - mean_a) of
//            (x - mean) in dx, and (1 - 2 a) (mean - mean_pop)^2 more in the second bracket of da
//   without centering (RMS norm: mean = 0, var = E[x^2]) the term mean(g) is left out    (Zhang & Sennrich 2019)
//   With a variance of larger cells B than the mean's, A, the second mean of dx is over B:
//            dx = (g - mean_A(g) - xhat mean_B(g xhat)) / s            (Luo et al. 2020, "Extended batch
//            normalization")
#pragma once

#include <optional>
#include <vector>

#include "norma/ops/elementwise/activation.h"
#include "norma/ops/kernel.h"
#include "norma/ops/norm/grouping.h"
#include "norma/ops/norm/moments.h"

namespace norma {

// Where the statistics come from.
struct Statistics {
  enum class Source : uint8_t { batch, given, renorm, mixed };
  Source source = Source::batch;
  Tensor mean{}, var{};  // of the population (all but batch): one entry a channel group [G] or a cell [sets, G]
  double r_max = 0, d_max = 0;
  Tensor alpha{};           // mixed: how much the cell's own count, of the shape of the mean
  bool of_mixture = false;  // mixed: whether what lies between the two means counts in the variance

  static Statistics batch() { return {}; }  // of the cell; the gradient goes through them
  static Statistics given(const Tensor& mean, const Tensor& var) { return {Source::given, mean, var}; }
  static Statistics renorm(const Tensor& mean, const Tensor& var, double r_max = 3, double d_max = 5) {
    return {Source::renorm, mean, var, r_max, d_max};
  }
  // alpha m + (1 - alpha) mean, m the cell's own mean, and likewise the variance; `of_mixture`, that of elements of
  // which a share alpha is the cell's and the rest the population's. alpha is in [0, 1], and has a gradient where it
  // wants one (and all channels and positions are normalized together). For finite x, the bits at 1 and 0 are
  // those of batch and of given. A mixture's variance does not go with NormOptions::scale.
  static Statistics mixed(const Tensor& mean, const Tensor& var, const Tensor& alpha, bool of_mixture = false) {
    return {Source::mixed, mean, var, 0, 0, alpha, of_mixture};
  }
  static Statistics mixed(const Tensor& mean, const Tensor& var, double alpha, bool of_mixture = false) {
    return mixed(mean, var, full(mean.shape(), alpha, f64, mean.device()), of_mixture);
  }
};

struct NormOptions {
  double eps = 1e-5;
  Activation activation{};
  bool center = true;                // false: RMS norm
  int64_t normalized_channels = -1;  // >= 0: only the first so many, each by itself; the rest pass through (half
                                     // instance norm)
  std::vector<Tensor> residual{};    // added before the activation: one for each x, of its shape
  // [C], of x's dtype: added behind the activation. So a threshold max(v, tau) is relu(v - tau) + tau. Not with
  // normalized_channels.
  Tensor post_bias{};
  Moments* moments = nullptr;  // where to put the cells' moments (all sources but given)
  // What shares a variance, where that is more channels than share a mean: the op's grouping with fewer groups. The
  // variance is then about the means of its parts, and the moments' m2 is shared out evenly. Given statistics have an
  // entry for each of the mean's groups. Extended BN: {.scale = Grouping{.channels = Channels::all()}}.
  std::optional<Grouping> scale{};
};

// x [N, ..., C] -> its shape. gamma, beta: undefined, 1 and 0; [C]; [labels, C] where samples are grouped by labels; or
// [N, C], of each sample its own (AdaIN, FiLM, a class's by index_select). Under as many labels as samples a row is a
// label's. With `normalized_channels`, gamma and beta have that many entries. Errors: shapes and groupings that do not
// fit; a cell of a single element in the sources batch and renorm (its variance is 0 whatever its value), which names
// the cell.
// Several tensors, of any spatial sizes, share the statistics (a head applied to the levels of a pyramid).
std::vector<Tensor> norm(const std::vector<Tensor>& xs, const Grouping& grouping, const Statistics& statistics,
                         const Tensor& gamma, const Tensor& beta, const NormOptions& options = {});
inline Tensor norm(const Tensor& x, const Grouping& grouping, const Statistics& statistics, const Tensor& gamma,
                   const Tensor& beta, const NormOptions& options = {}) {
  return norm(std::vector<Tensor>{x}, grouping, statistics, gamma, beta, options)[0];
}

}  // namespace norma
