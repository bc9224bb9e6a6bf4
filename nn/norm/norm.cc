#include "norma/nn/norm/norm.h"

#include "norma/nn/layers.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/norm/conv2d_norm.h"
#include "norma/ops/shape/index.h"
#include "norma/ops/shape/views.h"

namespace norma::nn {
Norm::Norm(int64_t channels, const NormSettings& settings) : NormSettings(settings), channels_(channels) {
  check(channels >= 1, "Norm", "{} channels: want at least 1", channels);
  check(estimator.momentum >= 0 && estimator.momentum <= 1, "Norm", "a momentum of {}: want one in [0, 1]",
        estimator.momentum);
  check(!half || (!grouping.over_samples() && grouping.channels.count == 0), "Norm", "half norm wants {}, not {}",
        instance().str(), grouping.str());
  check(domains.count >= 0 && (domains.count == 0 || grouping.over_samples()), "Norm", "{} domains under {}",
        domains.count, grouping.str());
  if (affine && !identity) {
    const Shape shape = with_domains(domains.affine, normalized_channels());
    weight = Parameter(ones(shape));
    if (center) bias = Parameter(zeros(shape));
  }
  if (has_population()) reset_population();
}

std::string Norm::type() const {
  if (identity) return "Identity";
  if (domains.count > 0) return fmt::format("DomainNorm({})", domains.count);
  if (source == Statistics::Source::given) return "FrozenBatchNorm";
  if (source == Statistics::Source::renorm) return "BatchRenorm";
  const int64_t count = grouping.channels.count;
  if (!grouping.over_samples()) {
    if (half) return "HalfInstanceNorm";
    if (!center) return "RMSNorm";
    if (count == 1) return "LayerNorm";
    return count == 0 && grouping.positions == Positions::all ? "InstanceNorm" : fmt::format("GroupNorm({})", count);
  }
  if (count != 0 || grouping.positions == Positions::each) return fmt::format("Norm({})", grouping.str());
  constexpr const char* names[] = {"BatchNorm", "GhostBatchNorm({})", "", "DomainBatchNorm", "SyncBatchNorm"};
  return fmt::format(fmt::runtime(names[static_cast<size_t>(grouping.samples.kind)]), grouping.samples.size);
}

bool Norm::has_population() const {
  return !identity && (grouping.over_samples() || source != Statistics::Source::batch);
}

Shape Norm::with_domains(bool own, int64_t n) const {
  return own && domains.count > 0 ? Shape{domains.count, n} : Shape{n};
}

Shape Norm::population_shape() const {
  return with_domains(domains.population, grouping.channels.count > 0 ? grouping.channels.count : channels_);
}

void Norm::reset_population() {
  const Device device = weight.defined() ? weight.device() : cpu_device;
  const Shape shape = population_shape();
  running_mean = Buffer(zeros(shape, f64, device));
  running_var = Buffer(ones(shape, f64, device));
  num_batches_tracked = Buffer(zeros(shape.without(shape.rank() - 1), i64, device));
}

// In evaluation, unless the statistics of the mini-batch are asked for; those that are given hold in training, too.
bool Norm::uses_population() const {
  const bool given = source == Statistics::Source::given;
  return is_training() ? given : !collect && (given || evaluation == EvalStatistics::population);
}

Domains Norm::own_parts() const {
  if (domains.count == 0) return {0, false, false, false};
  return {domains.count, domains.batch, domains.population, domains.affine && weight.defined()};
}

Grouping Norm::all_samples(bool by_domain) const {
  return {by_domain ? Samples::labels(ids, domains.count) : Samples::whole(), grouping.positions, grouping.channels};
}

NormOptions Norm::options(const Call& call, Moments* moments) const {
  return {.eps = eps,
          .activation = call.activation,
          .center = center,
          .normalized_channels = half ? normalized_channels() : -1,
          .residual = call.residual.defined() ? std::vector{call.residual} : std::vector<Tensor>(),
          .moments = moments};
}

Tensor Norm::operator()(Conv2d& conv, const Tensor& x, const Tensor& residual) {
  if (Observer::any() && !residual.defined()) return (*this)(conv(x));
  return forward(&conv, x, residual, activation, max_pool);
}

Tensor Norm::forward(Conv2d* conv, const Tensor& x, const Tensor& residual, const Activation& f,
                     const std::optional<Pair>& pool) {
  const bool one_pass = conv && has_population() && !is_training() && uses_population() && domains.count == 0 &&
                        running_mean.defined() && running_mean.numel() == channels_ && !Tape::current() &&
                        !Observer::any();
  if (!one_pass) return normalize({{conv ? (*conv)(x) : x}, residual, f, pool})[0];
  return conv2d_norm(x, conv->filters(), conv->bias, conv->options, all_samples(false),
                     Statistics::given(running_mean, running_var), weight, bias, options({{}, residual, f, {}}), pool);
}

std::vector<Tensor> Norm::normalize(const Call& call) {
  for (const Tensor& x : call.xs)
    check(x.rank() >= 2 && x.dim(-1) == channels_, type(), "wants [N, ..., {}]: input {}", channels_, x.shape());
  if (identity) return call.finish(call.xs);
  if (!has_population()) return run(call, grouping, Statistics::batch());

  check(grouping.positions == Positions::all, type(), "keeps no population of single positions, under {}",
        grouping.str());
  const Domains own = own_parts();
  check(ids.defined() || !(own.batch || own.population || own.affine), type(),
        "wants the domain of each sample: set_domains(model, ids)");
  if (!running_mean.defined() || running_mean.numel() != population_shape().numel()) reset_population();
  return uses_population() ? normalize_by_population(call) : normalize_by_batch(call);
}

// Residual, activation and pooling as ops of their own, behind ys.
std::vector<Tensor> Norm::Call::finish(std::vector<Tensor> ys) const {
  for (Tensor& y : ys) {
    if (residual.defined()) y = y + residual;
    if (activation.kind == Activation::Kind::relu) y = relu(y);
    if (activation.kind == Activation::Kind::leaky_relu) y = leaky_relu(y, activation.slope);
    if (max_pool) y = max_pool2d(y, {.kernel = *max_pool});
  }
  return ys;
}

// The norm with all that comes behind it, in as few passes as the ops have for it.
std::vector<Tensor> Norm::run(const Call& call, const Grouping& by, const Statistics& statistics,
                              Moments* moments) const {
  const NormOptions options = this->options(call, moments);
  if (call.max_pool && call.xs.size() == 1)
    return {norm_max_pool(call.xs[0], by, statistics, weight, bias, {.kernel = *call.max_pool}, options)};
  return Call{.max_pool = call.max_pool}.finish(norma::norm(call.xs, by, statistics, weight, bias, options));
}

std::vector<Tensor> Norm::normalize_by_population(const Call& call) {
  const Domains own = own_parts();
  // The op's gradient keeps the statistics that it was given, and a later step moves these: so it gets copies.
  std::vector<Tensor> ys = run(call, all_samples(own.population || own.affine),
                               Statistics::given(running_mean.clone(), running_var.clone()));
  if (collect) collect(call.xs, norma::moments(call.xs, all_samples(own.batch)));
  return ys;
}

// Training, and evaluation by the mini-batch.
std::vector<Tensor> Norm::normalize_by_batch(const Call& call) {
  const Domains own = own_parts();
  const Grouping by = is_training() && !own.batch ? grouping : all_samples(own.batch);
  const Statistics statistics = is_training() && source == Statistics::Source::renorm
                                    ? Statistics::renorm(running_mean.clone(), running_var.clone(), r_max, d_max)
                                    : Statistics::batch();
  Moments moments;
  std::vector<Tensor> ys;
  if (own.affine && !own.batch) {  // the op takes gamma and beta of each domain only where it normalizes by domain
    const NormOptions plain{.eps = eps, .center = center, .moments = &moments};
    ys = norma::norm(call.xs, by, statistics, {}, {}, plain);
    for (Tensor& y : ys) y = affine_by_domain(y);
    ys = call.finish(std::move(ys));
  } else {
    ys = run(call, by, statistics, &moments);
  }

  if (collect && is_training()) {
    collect(call.xs, moments);
  } else if (collect || (is_training() && Tape::current())) {
    if (own.population && !own.batch) moments = norma::moments(call.xs, all_samples(true));
    if (collect) collect(call.xs, own.population ? moments : merge_sets(moments));
    else
      kernel::follow_moments(moments.count, moments.mean, moments.m2,
                             estimator.kind == Estimator::Kind::ema ? estimator.momentum : -1, running_mean,
                             running_var, num_batches_tracked);
  }
  return ys;
}

// y * gamma + beta, each sample by those of its domain.
Tensor Norm::affine_by_domain(const Tensor& y) const {
  const int64_t n = y.dim(0);
  const auto of_samples = [&](const Tensor& p) {  // [domains, C] -> [N, 1, C]
    return reshape(index_select(p, 0, ids.to(p.device())), {n, 1, channels_});
  };
  const Tensor scaled = reshape(y, {n, n > 0 ? -1 : 1, channels_}) * of_samples(weight);
  return reshape(bias.defined() ? scaled + of_samples(bias) : scaled, y.shape());
}

Norm BatchNorm(int64_t channels, const BatchNormOptions& options) { return DomainNorm(channels, {}, options); }

Norm DomainNorm(int64_t channels, const Domains& domains, const BatchNormOptions& o) {
  return Norm(channels, {.grouping = o.normalization_batch > 0 ? chunks(o.normalization_batch) : whole(),
                         .estimator = Estimator::ema(o.momentum),
                         .activation = o.activation,
                         .eps = o.eps,
                         .affine = o.affine,
                         .domains = domains});
}

Norm BatchRenorm(int64_t channels, double r_max, double d_max, double momentum) {
  return Norm(
      channels,
      {.source = Statistics::Source::renorm, .estimator = Estimator::ema(momentum), .r_max = r_max, .d_max = d_max});
}

Norm FrozenBatchNorm(int64_t channels) { return Norm(channels, {.source = Statistics::Source::given}); }

Norm GroupNorm(int64_t count, int64_t channels) {
  check(count >= 1 && channels % count == 0, "GroupNorm", "{} channels do not divide into {} groups", channels, count);
  return Norm(channels, {.grouping = groups(count)});
}

Norm LayerNorm(int64_t channels, LayerNormOver over) {
  return Norm(channels, {.grouping = over == LayerNormOver::features ? features() : layer()});
}

Norm InstanceNorm(int64_t channels, bool affine) { return Norm(channels, {.grouping = instance(), .affine = affine}); }

Norm HalfInstanceNorm(int64_t channels) { return Norm(channels, {.grouping = instance(), .half = true}); }

Norm RMSNorm(int64_t channels, double eps) {
  return Norm(channels, {.grouping = features(), .eps = eps, .center = false});
}

void for_each_norm(Module& model, const std::function<void(const std::string& path, Norm& norm)>& f) {
  model.for_each([&](const std::string& path, Module& module) {
    if (auto* norm = dynamic_cast<Norm*>(&module)) f(path, *norm);
  });
}

void set_domains(Module& model, const Tensor& ids) {
  for_each_norm(model, [&](const std::string&, Norm& norm) {
    if (norm.domains.count > 0) norm.ids = ids;
  });
}

}  // namespace norma::nn
