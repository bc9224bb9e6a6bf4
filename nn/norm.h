// Norm: the one normalization layer. Every choice - who shares statistics, where they come from, how the population is
// estimated, what evaluation uses - is a value that can be changed at any time; BatchNorm, GroupNorm and the others are
// functions that return a configured one.
//
//   nn::Norm norm = nn::BatchNorm(64);
//   norm.grouping = chunks(16);                       // ghost batch norm from here on
//   nn::for_each_norm(model, [](nn::Norm& n) { n.estimator = nn::Estimator::cumulative(); });
#pragma once

#include "norma/nn/module.h"
#include "norma/ops/norm.h"

namespace norma::nn {

// How a layer that normalizes over samples follows its population from step to step. (nn/population.h estimates it
// anew.)
struct Estimator {
  enum class Kind : uint8_t { ema, cumulative };
  Kind kind = Kind::ema;
  double momentum = 0.1;  // s <- (1 - momentum) s + momentum s_batch
  static Estimator ema(double momentum = 0.1) { return {Kind::ema, momentum}; }
  static Estimator cumulative() { return {Kind::cumulative, 0}; }  // the plain average since reset_population()
};

enum class EvalStatistics : uint8_t { population, mini_batch };

struct NormSettings {
  Grouping grouping{};
  Statistics::Source source = Statistics::Source::batch;  // in training; given: the population, frozen
  Estimator estimator{};
  EvalStatistics evaluation = EvalStatistics::population;
  Activation activation{};
  double eps = 1e-5;
  bool center = true;
  bool half = false;            // instance norm on the first half of the channels, the rest pass through
  double r_max = 3, d_max = 5;  // renorm
  bool affine = true;
};

// x [N, ..., C] -> its shape. In evaluation, groupings over samples give way to the population (or to the whole
// mini-batch), so that a batch of any size can be evaluated. The population moves in training only, while a tape
// records; a step with several cells a channel makes one update, with the means over the cells.
struct Norm : Module, NormSettings {
  explicit Norm(int64_t channels, const NormSettings& settings = {});

  Tensor forward(const Tensor& x) override { return normalize({x}, {})[0]; }
  using Module::operator();
  Tensor operator()(const Tensor& x, const Tensor& residual) { return normalize({x}, {residual})[0]; }
  // Several inputs that share the statistics.
  std::vector<Tensor> operator()(const std::vector<Tensor>& xs) { return normalize(xs, {}); }

  int64_t channels() const { return channels_; }
  std::string type() const override;  // what the settings are known as: "BatchNorm", "GroupNorm(8)"
  bool has_population() const;        // by its settings: whether it normalizes over samples
  void reset_population();            // mean 0, variance 1, nothing seen

  Parameter weight, bias;            // [C] (half: [ceil(C / 2)]): gamma and beta; undefined without `affine`
  Buffer running_mean, running_var;  // f64, one entry a channel group; the variance is the unbiased one
  Buffer num_batches_tracked;        // i64 []
  NORMA_VISIT(weight, bias, running_mean, running_var, num_batches_tracked)

  // While set, the layer normalizes by the whole batch and leaves the population alone; the callee gets each batch's
  // moments, [1, groups]. For estimators and reports; see nn/population.h.
  std::function<void(const std::vector<Tensor>& xs, const Moments& moments)> collect;

 private:
  std::vector<Tensor> normalize(const std::vector<Tensor>& xs, const std::vector<Tensor>& residual);
  void follow(const Moments& moments);
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

}  // namespace norma::nn
