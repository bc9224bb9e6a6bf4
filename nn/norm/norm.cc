#include "norma/nn/norm/norm.h"

#include "norma/nn/layers.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/norm/conv2d_norm.h"
#include "norma/ops/reduce/reduce.h"
#include "norma/ops/shape/index.h"

namespace norma::nn {
namespace {

using Source = Statistics::Source;

// The layer's `domains`, with nothing of their own where there are none.
Domains own_parts(const Norm& norm) {
  const auto& [count, batch, population, affine] = norm.domains;
  return {count, count > 0 && batch, count > 0 && population, count > 0 && affine && norm.weight.defined()};
}

Shape population_shape(const Norm& norm) {
  const int64_t groups = norm.grouping.channels.count, n = groups > 0 ? groups : norm.channels();
  return own_parts(norm).population ? Shape{norm.domains.count, n} : Shape{n};
}

// All samples in one set, or in a set for each domain; of all workers, where the layer's grouping is across them.
Grouping all_samples(const Norm& norm, bool by_domain) {
  Samples samples = by_domain ? Samples::labels(norm.ids, norm.domains.count) : Samples::whole();
  samples.comm = norm.grouping.samples.comm;
  if (samples.comm && !by_domain) samples.kind = Samples::Kind::across;
  return {samples, norm.grouping.positions, norm.grouping.channels};
}

// What one call of a layer works on. The options have its activation and residual.
struct Call {
  const Norm& norm;
  const std::vector<Tensor>& xs;  // [N, ..., C] each
  NormOptions options;
  std::optional<Pair> max_pool;
  Tensor gamma, beta;
};

// What stands behind the norm, as ops of their own.
std::vector<Tensor> finish(const NormOptions& behind, const std::optional<Pair>& max_pool, std::vector<Tensor> ys) {
  const auto& [kind, slope] = behind.activation;
  for (size_t i = 0; i < ys.size(); ++i) {
    if (!behind.residual.empty()) ys[i] = ys[i] + behind.residual[i];
    if (kind == Activation::Kind::relu) ys[i] = relu(ys[i]);
    if (kind == Activation::Kind::leaky_relu) ys[i] = leaky_relu(ys[i], slope);
    if (behind.post_bias.defined()) ys[i] = ys[i] + behind.post_bias;
    if (max_pool) ys[i] = max_pool2d(ys[i], {.kernel = *max_pool});
  }
  return ys;
}

// The norm and what stands behind it, in as few passes as there are ops for.
std::vector<Tensor> run(const Call& call, const Grouping& by, const Statistics& statistics) {
  if (call.max_pool && call.xs.size() == 1)
    return {norm_max_pool(call.xs[0], by, statistics, call.gamma, call.beta, {.kernel = *call.max_pool}, call.options)};
  return finish({}, call.max_pool, norma::norm(call.xs, by, statistics, call.gamma, call.beta, call.options));
}

std::vector<Tensor> normalize_by_population(const Call& call) {
  const Norm& norm = call.norm;
  const Domains own = own_parts(norm);
  std::vector<Tensor> ys = run(call, all_samples(norm, own.population || own.affine),
                               Statistics::given(norm.running_mean, norm.running_var));
  if (norm.collect) norm.collect(call.xs, moments(call.xs, all_samples(norm, own.batch), norm.center));
  return ys;
}

// What the statistics of the batch, under `by`, are combined with.
Statistics statistics_of(const Call& call, const Grouping& by) {
  const Norm& norm = call.norm;
  const auto either = [&](Source in_training, EvalStatistics in_evaluation) {
    return norm.is_training() ? norm.source == in_training : norm.evaluation == in_evaluation && !norm.collect;
  };
  const Tensor &mean = norm.running_mean, &var = norm.running_var;
  if (either(Source::renorm, EvalStatistics::renorm)) return Statistics::renorm(mean, var, norm.r_max, norm.d_max);
  if (!either(Source::mixed, EvalStatistics::mixed)) return Statistics::batch();
  if (norm.learned_alpha)
    return Statistics::mixed(mean, var, expand(sigmoid(norm.mixing), mean.shape()), norm.of_mixture);
  if (norm.pseudo_samples == 0) return Statistics::mixed(mean, var, norm.alpha, norm.of_mixture);
  double each = 0;  // elements of a sample
  for (const Tensor& x : call.xs) each += static_cast<double>(x.numel() / std::max<int64_t>(x.dim(0), 1));
  const Tensor count = moments(call.xs, by, norm.center).count, n = count * static_cast<double>(count.dim(1)) / each;
  const Tensor alpha = n / (n + norm.pseudo_samples);
  return Statistics::mixed(view::expand(mean, alpha.shape()), view::expand(var, alpha.shape()), alpha, norm.of_mixture);
}

// In training, and in evaluation by more than the population. Moves the population, or tells who collects moments.
std::vector<Tensor> normalize_by_batch(Call call) {
  const Norm& norm = call.norm;
  const Domains own = own_parts(norm);
  const bool training = norm.is_training();
  const Grouping by = training && !own.batch ? norm.grouping : all_samples(norm, own.batch);
  const Statistics statistics = statistics_of(call, by);
  Moments cells;
  call.options.moments = &cells;
  if (norm.scale) call.options.scale = Grouping{by.samples, by.positions, norm.scale->channels};
  if (own.affine && !own.batch) {  // the op knows a row for each label of the grouping, or for each sample
    const Tensor rows = Tensor(norm.ids).to(call.gamma.device());
    check(all(ge(rows, 0)).item() != 0, norm.type(), "a sample is of a domain below 0");
    call.gamma = index_select(call.gamma, 0, rows);
    if (call.beta.defined()) call.beta = index_select(call.beta, 0, rows);
  }
  const std::vector<Tensor> ys = run(call, by, statistics);

  if (norm.collect && training) {
    norm.collect(call.xs, cells);
  } else if (norm.collect || (training && Tape::current())) {
    if (own.population && !own.batch) cells = moments(call.xs, all_samples(norm, true), norm.center);
    if (norm.collect) norm.collect(call.xs, own.population ? cells : merge_sets(cells));
    else
      kernel::follow_moments(cells.count, cells.mean, cells.m2, norm.center, norm.estimator.momentum.value_or(-1),
                             norm.running_mean, norm.running_var, norm.num_batches_tracked);
  }
  return ys;
}

// x over the deviation of its cells, which are within a sample.
Tensor by_deviation(const Norm& norm, const Tensor& x) {
  const int64_t count = norm.grouping.channels.count, groups = count > 0 ? count : norm.channels();
  const int64_t positions = x.shape().without(x.rank() - 1).without(0).numel();
  const Tensor cells = reshape(x, {x.dim(0), positions, groups, norm.channels() / groups});
  return reshape(cells / sqrt(var(cells, {1, 3}, 0, true) + norm.eps), x.shape());
}

// What stands instead of the norm, and behind it: composed.
std::vector<Tensor> run_instead(const Call& call) {
  std::vector<Tensor> ys;
  for (const Tensor& x : call.xs) {
    const Tensor scaled = call.norm.input_scale * x;
    Tensor y = call.norm.instead == Instead::tanh  ? tanh(scaled)
               : call.norm.instead == Instead::erf ? erf(scaled + call.norm.input_shift)
                                                   : by_deviation(call.norm, x) * sigmoid(scaled);
    if (call.gamma.defined()) y = y * call.gamma;
    ys.push_back(call.beta.defined() ? y + call.beta : y);
  }
  return finish(call.options, call.max_pool, ys);
}

}  // namespace

Norm::Norm(int64_t channels, const NormSettings& settings) : NormSettings(settings), channels_(channels) {
  check(channels >= 1, "Norm", "{} channels: want at least 1", channels);
  check_settings("Norm");
  if (affine && !identity) {
    const int64_t n = half ? channels - channels / 2 : channels;
    const Shape shape = domains.count > 0 && domains.affine ? Shape{domains.count, n} : Shape{n};
    weight = Parameter(ones(shape));
    if (center || thresholded) bias = Parameter(zeros(shape));
  }
  if (thresholded) tau = Parameter(zeros({channels}));
  const bool evo = instead == Instead::evo;
  if (instead != Instead::nothing) input_scale = Parameter(full({evo ? channels : 1}, evo ? 1 : 0.5));
  if (instead == Instead::erf) input_shift = Parameter(zeros({1}));
  if (learned_alpha) mixing = Parameter(full({population_shape(*this).back()}, std::log(alpha / (1 - alpha))));
  if (has_population()) reset_population();
}

void Norm::check_settings(const std::string& op) const {
  const double momentum = estimator.momentum.value_or(0);
  check(momentum >= 0 && momentum <= 1, op, "a momentum of {}: want one in [0, 1]", momentum);
  check(source != Source::renorm || (r_max >= 1 && d_max >= 0), op,
        "r_max {} and d_max {}: want r_max >= 1, d_max >= 0", r_max, d_max);
  check(alpha >= 0 && alpha <= 1 && pseudo_samples >= 0, op, "alpha {}, pseudo samples {}", alpha, pseudo_samples);
  check(!learned_alpha || (alpha > 0 && alpha < 1), op, "a learned alpha begins in (0, 1), not at {}", alpha);
  const int64_t groups = grouping.channels.count;
  check(groups == 0 || channels_ % groups == 0, op, "{} channels do not divide into {} groups", channels_, groups);
  check(!half || (!grouping.over_samples() && groups == 0), op, "half norm wants {}, not {}", instance(), grouping);
  const Grouping wide = scale ? Grouping{scale->samples, scale->positions, grouping.channels} : grouping;
  check(wide.str() == grouping.str() && (!scale || (!half && center && domains.count == 0)), op,
        "a mean over {} and a variance over {}: want centering, no domains, and no other samples or positions",
        grouping, scale.value_or(grouping));
  check(instead == Instead::nothing || (domains.count == 0 && !half), op,
        "what stands instead of a norm goes without domains and half");
  check(instead != Instead::evo || (!grouping.over_samples() && grouping.positions == Positions::all), op,
        "EvoNorm-S0 wants cells within a sample, not {}", grouping);
  const bool mixes = source > Source::given || evaluation > EvalStatistics::mini_batch;
  check(domains.count == 0 || domains.batch || !domains.population || !mixes, op,
        "a batch of all domains is neither mixed with nor corrected towards the population of each");
  check(!thresholded || (!half && !identity), op, "a threshold goes without half, and with a norm");
  const bool apart = grouping.over_samples() && grouping.samples.kind != Samples::Kind::labels;
  check(domains.count >= 0 && (domains.count == 0 || apart), op, "{} domains under {}", domains.count, grouping);
  check(!has_population() || grouping.positions == Positions::all, op,
        "a population has no statistics of single positions: want Positions::all, not {}", grouping);
}

std::string Norm::type() const {
  if (identity) return "Identity";
  constexpr const char* others[] = {"", "DynamicTanh", "DynamicErf", "EvoNormS0"};
  if (instead != Instead::nothing) return others[static_cast<size_t>(instead)];
  if (domains.count > 0) return fmt::format("DomainNorm({})", domains.count);
  if (source == Source::given) return "FrozenBatchNorm";
  if (source == Source::renorm) return "BatchRenorm";
  if (scale) return fmt::format("Norm({}, variance {})", grouping.str(), scale->str());
  const int64_t count = grouping.channels.count;
  if (!grouping.over_samples()) {
    if (half) return "HalfInstanceNorm";
    if (!center) return thresholded ? "FilterResponseNorm" : "RMSNorm";
    if (count == 1) return "LayerNorm";
    return count == 0 && grouping.positions == Positions::all ? "InstanceNorm" : fmt::format("GroupNorm({})", count);
  }
  if (count != 0 || grouping.positions == Positions::each) return fmt::format("Norm({})", grouping.str());
  constexpr const char* names[] = {"BatchNorm", "GhostBatchNorm({})", "", "DomainBatchNorm", "SyncBatchNorm"};
  return fmt::format(fmt::runtime(names[static_cast<size_t>(grouping.samples.kind)]), grouping.samples.size);
}

void Norm::reset_population() {
  const Device device = weight.defined() ? weight.device() : cpu_device;
  const Shape shape = population_shape(*this);
  running_mean = Buffer(zeros(shape, f64, device));
  running_var = Buffer(ones(shape, f64, device));
  num_batches_tracked = Buffer(zeros(shape.without(shape.rank() - 1), i64, device));
}

Moments Norm::pooled(const Moments& m) const {
  if (!scale) return m;
  const int64_t count = scale->channels.count;
  const Tensor groups = view::reshape(m.m2, {m.m2.dim(0), count > 0 ? count : channels_, -1});
  return {m.count, m.mean, view::reshape(view::expand(mean(groups, {2}, true), groups.shape()), m.m2.shape())};
}

Tensor Norm::operator()(Conv2d& conv, const Tensor& x, const Tensor& residual) {
  if (Observer::any() && !residual.defined()) return (*this)(conv(x));
  return forward(&conv, {x}, residual, activation, max_pool)[0];
}

std::vector<Tensor> Norm::forward(Conv2d* conv, std::vector<Tensor> xs, const Tensor& residual, const Activation& f,
                                  const std::optional<Pair>& pool, const Tensor& gamma, const Tensor& beta) {
  const Running here(*this);
  NormOptions options{.eps = eps,
                      .activation = f,
                      .center = center,
                      .normalized_channels = half ? (channels_ + 1) / 2 : -1,
                      .residual = residual.defined() ? std::vector{residual} : std::vector<Tensor>(),
                      .scale = has_population() ? std::nullopt : scale};
  check_settings(type());
  const bool evo = instead == Instead::evo;
  check((instead == Instead::nothing || (input_scale.defined() && input_scale.numel() == (evo ? channels_ : 1))) &&
            (instead != Instead::erf || input_shift.defined()) && (!thresholded || tau.defined()) &&
            (!learned_alpha || mixing.defined()),
        type(), "has no parameters for what it is now: set learned_alpha, instead and thresholded when it is made");
  if (has_population()) {
    const Domains own = own_parts(*this);
    check(ids.defined() || !(own.batch || own.population || own.affine), type(),
          "wants the domain of each sample: set_domains(model, ids)");
    if (!running_mean.defined() || running_mean.numel() != population_shape(*this).numel()) reset_population();
  }
  // In evaluation, unless somebody wants the statistics of the mini-batch; and if frozen, in training.
  const bool frozen = source == Source::given,
             evaluates = !collect && (frozen || evaluation == EvalStatistics::population),
             by_population = has_population() && (is_training() ? frozen : evaluates);
  if (conv && by_population && !thresholded && !is_training() && domains.count == 0 && !Tape::current() &&
      !Observer::any())
    return {conv2d_norm(xs[0], conv->filters(), conv->bias, conv->options, all_samples(*this, false),
                        Statistics::given(running_mean, running_var), weight, bias, options, pool)};
  for (Tensor& x : xs) {
    if (conv) x = (*conv)(x);
    check(x.rank() >= 2 && x.dim(-1) == channels_, type(), "wants [N, ..., {}]: input {}", channels_, x.shape());
  }
  const bool own = gamma.defined() || beta.defined(), norms = !identity && instead == Instead::nothing;
  check(!own || (domains.count == 0 && norms && grouping.samples.kind != Samples::Kind::labels), type(),
        "a gamma and a beta of each sample do not go with domains or labels, nor without a norm");
  const Tensor scaling = own ? gamma : Tensor(weight);
  Tensor shift = own ? beta : Tensor(bias);
  if (thresholded) {  // max(y, tau) = relu(y - tau) + tau
    options.activation = Activation::relu();
    options.post_bias = tau;
    shift = (shift.defined() ? shift : zeros_like(scaling.defined() ? scaling : Tensor(tau))) - tau;
  }
  const Call call{*this, xs, options, thresholded ? std::optional<Pair>() : pool, scaling, shift};
  std::vector<Tensor> ys = identity            ? finish(call.options, call.max_pool, xs)
                           : !norms            ? run_instead(call)
                           : !has_population() ? run(call, grouping, Statistics::batch())
                           : by_population     ? normalize_by_population(call)
                                               : normalize_by_batch(call);
  return thresholded ? finish({.activation = f}, pool, ys) : ys;
}

}  // namespace norma::nn
