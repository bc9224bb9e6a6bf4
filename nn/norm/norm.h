// Norm: the one normalization layer. Every choice - who shares statistics, where they come from, how the population is
// estimated, what evaluation uses - is a value that can be changed at any time; BatchNorm, GroupNorm and the others are
// functions that return a configured one.
//
//   nn::Norm norm = nn::BatchNorm(64);
//   norm.grouping = chunks(16);                       // ghost batch norm from here on
//   nn::for_each_norm(model, [](nn::Norm& n) { n.estimator = nn::Estimator::cumulative(); });
#pragma once

#include <optional>

#include "norma/nn/module.h"
#include "norma/ops/norm/norm_max_pool.h"

namespace norma::nn {

// How a layer that normalizes over samples follows its population from step to step; the variance is the cells'
// unbiased one, as PyTorch keeps. (nn/norm/population.h estimates it anew.)
struct Estimator {
  enum class Kind : uint8_t { ema, cumulative };
  Kind kind = Kind::ema;
  double momentum = 0.1;  // s <- (1 - momentum) s + momentum s_batch
  static Estimator ema(double momentum = 0.1) { return {Kind::ema, momentum}; }
  static Estimator cumulative() { return {Kind::cumulative, 0}; }  // the plain average since reset_population()
};

enum class EvalStatistics : uint8_t { population, mini_batch };

// What each domain has of its own; the rest is shared. A domain is a source of samples: a camera, a pyramid's level.
struct Domains {
  int64_t count = 0;  // 0: the layer knows of none
  bool batch = true, population = true, affine = true;
};

struct NormSettings {
  Grouping grouping{};
  Statistics::Source source = Statistics::Source::batch;  // in training; given: the population, frozen
  Estimator estimator{};
  EvalStatistics evaluation = EvalStatistics::population;
  Activation activation{};
  std::optional<Pair> max_pool{};  // behind the activation: the largest of each window of so many pixels
  double eps = 1e-5;
  bool center = true;
  bool half = false;            // instance norm on the first half of the channels, the rest pass through
  double r_max = 3, d_max = 5;  // renorm
  bool affine = true;
  bool identity = false;  // activation, residual and pooling only: no norm, or one that was folded
  Domains domains{};      // grouping: of the batch where the domains share it
};

struct Conv2d;

// x [N, ..., C] -> its shape, or with max_pool [N, H, W, C] -> [N, H / KH, W / KW, C]. In evaluation, groupings over
// samples give way to the population (or to the whole mini-batch), so that a batch of any size can be evaluated. The
// population moves in training only, while a tape records; a step with several cells a channel makes one update, with
// the means over the cells.
struct Norm : Module, NormSettings {
  explicit Norm(int64_t channels, const NormSettings& settings = {});

  Tensor forward(const Tensor& x) override { return normalize({x}, {}, activation, max_pool)[0]; }
  using Module::operator();
  Tensor operator()(const Tensor& x, const Tensor& residual) {
    return normalize({x}, {residual}, activation, max_pool)[0];
  }
  // Of what a convolution gives for x: in evaluation by the population, where no tape records and nothing is pooled, in
  // the convolution's own pass over its output (and then an Observer is not told of the two). The same bits either way.
  Tensor operator()(Conv2d& conv, const Tensor& x, const Tensor& residual = {});
  // The same with another activation and pooling than its own, for containers; without a convolution, of x itself.
  Tensor forward(Conv2d* conv, const Tensor& x, const Tensor& residual, const Activation& f,
                 const std::optional<Pair>& pool);
  // Several inputs that share the statistics.
  std::vector<Tensor> operator()(const std::vector<Tensor>& xs) { return normalize(xs, {}, activation, max_pool); }

  int64_t channels() const { return channels_; }
  std::string type() const override;  // what the settings are known as: "BatchNorm", "GroupNorm(8)"
  bool has_population() const;        // by its settings: whether it normalizes over samples
  void reset_population();            // mean 0, variance 1, nothing seen

  // Each of these has a leading axis for the domains where those have their own.
  Parameter weight, bias;            // [C] (half: [ceil(C / 2)]): gamma and beta; undefined without `affine`
  Buffer running_mean, running_var;  // f64, one entry a channel group
  Buffer num_batches_tracked;        // i64 []: steps that moved them
  NORMA_VISIT(weight, bias, running_mean, running_var, num_batches_tracked)

  Tensor ids;  // i64 [N], where there are domains: that of each sample of the inputs to come; see set_domains()

  // While set, the population does not move, and the callee gets the moments of each batch. In training, those of the
  // cells; in evaluation the layer normalizes by the whole batch (each domain's where they do not share it), and they
  // are [1 or domains, groups], as the population is kept. For estimators and reports; see nn/norm/population.h.
  std::function<void(const std::vector<Tensor>& xs, const Moments& moments)> collect;

 private:
  NormOptions options(const Activation& f) const;
  std::vector<Tensor> normalize(const std::vector<Tensor>& xs, const std::vector<Tensor>& residual, const Activation& f,
                                const std::optional<Pair>& pool);
  int64_t channels_;
};

struct BatchNormOptions {
  double momentum = 0.1;
  double eps = 1e-5;
  bool affine = true;
  int64_t normalization_batch = 0;  // > 0: ghost batch norm, chunks of so many samples
  Activation activation{};
};
Norm BatchNorm(int64_t channels, const BatchNormOptions& options = {});
// What the domains do not share, each sample takes from its own, in evaluation too. Wants set_domains() before a batch.
Norm DomainNorm(int64_t channels, const Domains& domains, const BatchNormOptions& options = {});
// Statistics follow the batch, corrected towards the population (Ioffe 2017).
Norm BatchRenorm(int64_t channels, double r_max = 3, double d_max = 5, double momentum = 0.01);
// An affine map by constant statistics, in training too.
Norm FrozenBatchNorm(int64_t channels);
Norm GroupNorm(int64_t groups, int64_t channels);
enum class LayerNormOver : uint8_t { features, sample };
Norm LayerNorm(int64_t channels, LayerNormOver over = LayerNormOver::features);
Norm InstanceNorm(int64_t channels, bool affine = true);
Norm HalfInstanceNorm(int64_t channels);
Norm RMSNorm(int64_t channels, double eps = 1e-6);

// Calls f for every Norm of a model, with its path.
void for_each_norm(Module& model, const std::function<void(const std::string& path, Norm& norm)>& f);
// Tells every layer with domains which of them each sample of the next batches is of. ids: i64 [N], in [0, count).
void set_domains(Module& model, const Tensor& ids);

}  // namespace norma::nn
