// Norm: the one normalization layer. What PyTorch has as BatchNorm2d, GroupNorm, LayerNorm, ... is here a Norm with
// other settings: who shares statistics, where they come from, how the population is estimated, what evaluation uses.
// Each setting is a member that may be changed at any time; BatchNorm, GroupNorm and the others are functions that
// return a Norm with these set. The formulas are those of the op (ops/norm/norm.h); this file is about state.
//
//   nn::Norm norm = nn::BatchNorm(64);
//   norm.grouping = chunks(16);                       // ghost batch norm from here on
//   nn::for_each_norm(model, [](const std::string& path, nn::Norm& n) { n.estimator = nn::Estimator::cumulative(); });
//
// The population is the mean and variance that evaluation uses, PyTorch's running_mean and running_var.
#pragma once

#include <map>
#include <mutex>
#include <thread>

#include "norma/nn/module.h"
#include "norma/ops/norm/norm_max_pool.h"

namespace norma::nn {

// How training moves the population of a layer that normalizes over samples, step by step. As in PyTorch, the variances
// that enter are unbiased ones. (nn/norm/population.h estimates a population anew.)
struct Estimator {
  // In [0, 1]: the weight of each new step, 1 - momentum that of the past. None: the plain average of the steps since
  // reset_population(), as in PyTorch.
  std::optional<double> momentum = 0.1;
  static Estimator ema(double momentum = 0.1) { return {momentum}; }
  static Estimator cumulative() { return {std::nullopt}; }
};

// What a layer that normalizes over samples uses in evaluation: its population, the statistics of the mini-batch, both
// of them, mixed (Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation",
// 2020), or batch renorm's, the mini-batch's corrected towards the population (Zhao et al., "DELTA: degradation-free
// fully test-time adaptation", 2023).
enum class EvalStatistics : uint8_t { population, mini_batch, mixed, renorm };

// A layer that stands where a norm might, and has no population:
//   tanh  tanh(a x)                          DyT (Zhu et al., "Transformers without normalization", 2025)
//   erf   erf(a x + s)                       Derf (Chen et al., "Stronger normalization-free transformers", 2025)
//   evo   x sigmoid(a x) / sqrt(var + eps)   EvoNorm-S0 (Liu et al., "Evolving normalization-activation layers", 2020);
//         var is that of the layer's grouping, which is within each sample. An activation is part of it.
enum class Instead : uint8_t { nothing, tanh, erf, evo };

// A domain is a source of samples: a camera, a pyramid's level. What is true here each domain has of its own, what is
// false they share.
struct Domains {
  int64_t count = 0;                                    // 0: the layer knows of none
  bool batch = true, population = true, affine = true;  // batch: the normalization batch; affine: gamma and beta
};

struct NormSettings {
  Grouping grouping{};  // which elements share statistics, in training; default: those of a channel, as in batch norm
  // Which share a variance, where those are more than what shares a mean: a grouping that this one nests in.
  std::optional<Grouping> scale{};
  // Where training takes the statistics from: batch, renorm (of the batch, corrected towards the population), mixed (of
  // both), or given (the population, which then stays as it is).
  Statistics::Source source = Statistics::Source::batch;
  Estimator estimator{};
  EvalStatistics evaluation = EvalStatistics::population;
  // Where statistics are mixed: alpha, in [0, 1], is how much the batch's mean and variance count, the population's
  // 1 - alpha; or for a set of n samples n / (n + pseudo_samples), as if the population were worth so many.
  double alpha = 0.5, pseudo_samples = 0;
  bool of_mixture = false;  // the variance is that of elements which are mixed, not of both mixed (norm.h of the op)
  // These three bring parameters of their own: they are set when the layer is made, or unset later.
  bool learned_alpha = false;  // alpha, in (0, 1), is where each channel group's begins
  Instead instead = Instead::nothing;
  // Whether a thresholded linear unit, max(y, tau), stands behind the norm and the residual (Singh & Krishnan, "Filter
  // response normalization layer", 2020).
  bool thresholded = false;
  Activation activation{};         // behind the norm, the residual and the threshold, fused; default: none
  std::optional<Pair> max_pool{};  // behind the activation, fused: max-pooling in windows of this size and stride
  double eps = 1e-5;               // added to the variance
  bool center = true;              // false: RMS norm, which subtracts no mean and without a threshold has no bias
  bool half = false;               // normalize the first ceil(C / 2) channels, pass the rest on; grouping: instance()
  double r_max = 3, d_max = 5;     // limits of renorm's corrections (BatchRenorm)
  bool affine = true;              // whether there are a weight (gamma) and a bias (beta)
  bool identity = false;           // no norm, only residual, activation and pooling; fold_norm sets it
  Domains domains{};               // wants a grouping over samples, which holds where the domains share the batch
};

// A tensor that each thread sets for itself, and that no other thread sees.
class ThreadTensor {
 public:
  ThreadTensor& operator=(const Tensor& x) { return own() = x, *this; }
  operator Tensor() const { return own(); }
  bool defined() const { return own().defined(); }

 private:
  Tensor& own() const {  // it stays where it is when other threads get theirs
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    return of_thread_[std::this_thread::get_id()];
  }
  mutable std::map<std::thread::id, Tensor> of_thread_;
};

struct Conv2d;

// x [N, ..., C], f32 or f64, -> its shape; with max_pool, x [N, H, W, C] -> [N, H / KH, W / KW, C].
//
// A grouping over samples (batch norm and its kin) holds in training only. Evaluation normalizes by the population, so
// that a sample's output does not depend on the others, or by choice (`evaluation`) by the whole mini-batch.
// The population moves in training only, and only while a tape records. Where a step has several cells a channel, as in
// ghost batch norm, it moves once, towards the mean over these cells of their means and variances.
//
// Without centering (RMS norm) the population is a mean square, of mean 0.
//
// Errors: settings that do not go together or are out of range, when they are used; an x of another number of channels;
// no `ids` where domains are told apart; those of the op, such as a cell of a single element.
struct Norm : Module, NormSettings {
  // weight begins as 1, bias as 0, the population as mean 0 and variance 1. Errors: settings that do not go together.
  explicit Norm(int64_t channels, const NormSettings& settings = {});

  Tensor forward(const Tensor& x) override { return (*this)(x, {}); }
  using Module::operator();
  // residual: of x's shape, added before the activation.
  Tensor operator()(const Tensor& x, const Tensor& residual) {
    return forward(nullptr, {x}, residual, activation, max_pool)[0];
  }
  // The same of conv(x) in place of x, and the same bits. In evaluation by a population, while no tape records and no
  // Observer looks on, the norm, with residual, activation and pooling, is part of the convolution's pass over its
  // output.
  Tensor operator()(Conv2d& conv, const Tensor& x, const Tensor& residual = {});
  // With a gamma and a beta of each sample, [N, C], in place of the layer's (AdaIN, FiLM, of a class by index_select).
  Tensor operator()(const Tensor& x, const Tensor& gamma, const Tensor& beta) {
    return forward(nullptr, {x}, {}, activation, max_pool, gamma, beta)[0];
  }
  // Several inputs that share the statistics, such as the levels of a pyramid: one output for each.
  std::vector<Tensor> operator()(const std::vector<Tensor>& xs) {
    return forward(nullptr, xs, {}, activation, max_pool);
  }
  // What the operators above call, for containers: with an activation and a pooling in place of the layer's own, and
  // conv or residual only where there is one, and a single input.
  std::vector<Tensor> forward(Conv2d* conv, std::vector<Tensor> xs, const Tensor& residual,
                              const Activation& activation_behind, const std::optional<Pair>& max_pool_behind,
                              const Tensor& gamma = {}, const Tensor& beta = {});

  int64_t channels() const { return channels_; }

  std::string type() const override;  // what the settings are known as: "BatchNorm", "GroupNorm(8)"
  // By its settings: whether it normalizes over samples, or by renorm or given statistics.
  bool has_population() const {
    return !identity && instead == Instead::nothing && (grouping.over_samples() || source != Statistics::Source::batch);
  }
  void reset_population();                 // mean 0, variance 1, no step seen
  Moments pooled(const Moments& m) const;  // m with the M2 of what shares a variance, shared out evenly

  // With domains, what each of them has of its own has a leading axis [domains.count].
  Parameter weight, bias;            // [C], or [ceil(C / 2)] with `half`: gamma and beta; undefined without `affine`
  Parameter tau;                     // [C], of a threshold, begins as 0
  Parameter input_scale;             // a of `instead`: [1], begins as 0.5; of evo [C], as 1
  Parameter input_shift;             // s of Instead::erf: [1], begins as 0
  Parameter mixing;                  // of a learned alpha, [C] or one a channel group: alpha = sigmoid(mixing)
  Buffer running_mean, running_var;  // the population: f64, [C] or one entry a channel group of the means
  Buffer num_batches_tracked;        // i64 []: the steps that moved it
  NORMA_VISIT(weight, bias, tau, input_scale, input_shift, mixing, running_mean, running_var, num_batches_tracked)

  // Where there are domains: i64 [N], on the CPU, the domain of each sample of this thread's batch; see set_domains().
  ThreadTensor ids;

  // While this is set, the population does not move, and the callee gets what the layer receives, with its moments: in
  // training (unless by given statistics) those of each cell. In evaluation the layer then normalizes by the
  // mini-batch, or by that of each domain, and the moments are laid out as the population is, [1 or domains, groups].
  // For estimators and reports: see collect_moments in nn/norm/population.h.
  std::function<void(const std::vector<Tensor>& xs, const Moments& moments)> collect;

 private:
  void check_settings(const std::string& op) const;  // throws, in this name

  int64_t channels_;
};

struct BatchNormOptions {
  double momentum = 0.1;  // of Estimator::ema
  double eps = 1e-5;
  bool affine = true;
  int64_t normalization_batch = 0;  // > 0: ghost batch norm, in chunks of so many samples; 0: the whole batch
  Activation activation{};
};
// What the domains do not share, each sample takes from its own, in evaluation too. Wants set_domains() before a batch.
inline Norm DomainNorm(int64_t channels, const Domains& domains, const BatchNormOptions& o = {}) {
  return Norm(channels, {.grouping = o.normalization_batch > 0 ? chunks(o.normalization_batch) : whole(),
                         .estimator = Estimator::ema(o.momentum),
                         .activation = o.activation,
                         .eps = o.eps,
                         .affine = o.affine,
                         .domains = domains});
}
inline Norm BatchNorm(int64_t channels, const BatchNormOptions& options = {}) {
  return DomainNorm(channels, {}, options);
}
// Batch statistics in training, corrected towards the population by factors and offsets within r_max and d_max (Ioffe,
// "Batch renormalization", 2017).
inline Norm BatchRenorm(int64_t channels, double r_max = 3, double d_max = 5, double momentum = 0.01) {
  return Norm(
      channels,
      {.source = Statistics::Source::renorm, .estimator = Estimator::ema(momentum), .r_max = r_max, .d_max = d_max});
}
// The mean of each channel, the variance of all (Luo et al., "Extended batch normalization for image tasks", 2020).
inline Norm ExtendedBatchNorm(int64_t channels, double momentum = 0.1) {
  return Norm(channels, {.scale = Grouping{.channels = Channels::all()}, .estimator = Estimator::ema(momentum)});
}
// An affine map by constant statistics, in training too; weight and bias are trained.
inline Norm FrozenBatchNorm(int64_t channels) { return Norm(channels, {.source = Statistics::Source::given}); }
// Error: groups that do not divide the channels.
inline Norm GroupNorm(int64_t count, int64_t channels) {
  check(count >= 1 && channels % count == 0, "GroupNorm", "{} channels do not divide into {} groups", channels, count);
  return Norm(channels, {.grouping = groups(count)});
}
enum class LayerNormOver : uint8_t { features, sample };
// Over the C features of each position (as in transformers), or over all of a sample; either way with a weight and a
// bias a channel.
inline Norm LayerNorm(int64_t channels, LayerNormOver over = LayerNormOver::features) {
  return Norm(channels, {.grouping = over == LayerNormOver::features ? features() : layer()});
}
inline Norm InstanceNorm(int64_t channels, bool affine = true) {
  return Norm(channels, {.grouping = instance(), .affine = affine});
}
// Chen et al., "HINet", 2021
inline Norm HalfInstanceNorm(int64_t channels) { return Norm(channels, {.grouping = instance(), .half = true}); }
// Over the features of each position; no bias.
inline Norm RMSNorm(int64_t channels, double eps = 1e-6) {
  return Norm(channels, {.grouping = features(), .eps = eps, .center = false});
}
// By the mean square of each channel of a sample, with a threshold behind it (Singh & Krishnan 2020).
inline Norm FilterResponseNorm(int64_t channels, double eps = 1e-6) {
  return Norm(channels, {.grouping = instance(), .thresholded = true, .eps = eps, .center = false});
}
// Those of `Instead`, with a weight and a bias.
inline Norm DynamicTanh(int64_t channels) { return Norm(channels, {.instead = Instead::tanh}); }
inline Norm DynamicErf(int64_t channels) { return Norm(channels, {.instead = Instead::erf}); }
inline Norm EvoNormS0(int64_t channels, int64_t count = 8) {
  return Norm(channels, {.grouping = groups(count), .instead = Instead::evo});
}

// Calls f for every Norm of a model, with its path.
inline void for_each_norm(Module& model, const std::function<void(const std::string& path, Norm& norm)>& f) {
  model.for_each([&](const std::string& path, Module& module) {
    if (auto* norm = dynamic_cast<Norm*>(&module)) f(path, *norm);
  });
}
// Tells every Norm which domain each sample of this thread's next batches is of. ids: i64 [N], in [0, count).
inline void set_domains(Module& model, const Tensor& ids) {
  for_each_norm(model, [&](const std::string&, Norm& norm) { norm.ids = ids; });
}

}  // namespace norma::nn
