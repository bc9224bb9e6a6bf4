#include "norma/nn/norm/norm.h"

#include "norma/nn/layers.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/norm/conv2d_norm.h"
#include "norma/ops/shape/index.h"
#include "norma/ops/shape/views.h"

namespace norma::nn {
namespace {

// [n], or [domains, n] where each has its own.
Shape with_domains(const Domains& domains, bool own, int64_t n) {
  return domains.count > 0 && own ? Shape{domains.count, n} : Shape{n};
}

}  // namespace

Norm::Norm(int64_t channels, const NormSettings& settings) : NormSettings(settings), channels_(channels) {
  check(channels >= 1, "Norm", "{} channels: want at least 1", channels);
  check(estimator.momentum >= 0 && estimator.momentum <= 1, "Norm", "a momentum of {}: want one in [0, 1]",
        estimator.momentum);
  check(!half || (!grouping.over_samples() && grouping.channels.count == 0), "Norm", "half norm wants {}, not {}",
        instance().str(), grouping.str());
  check(domains.count >= 0 && (domains.count == 0 || grouping.over_samples()), "Norm", "{} domains under {}",
        domains.count, grouping.str());
  if (affine && !identity) {
    const Shape shape = with_domains(domains, domains.affine, half ? (channels + 1) / 2 : channels);
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

void Norm::reset_population() {
  const int64_t groups = grouping.channels.count == 0 ? channels_ : grouping.channels.count;
  const Device device = weight.defined() ? weight.device() : cpu_device;
  const Shape shape = with_domains(domains, domains.population, groups);
  running_mean = Buffer(zeros(shape, f64, device));
  running_var = Buffer(ones(shape, f64, device));
  num_batches_tracked = Buffer(zeros(shape.without(shape.rank() - 1), i64, device));
}

NormOptions Norm::options(const Activation& f) const {
  return {.eps = eps, .activation = f, .center = center, .normalized_channels = half ? (channels_ + 1) / 2 : -1};
}

Tensor Norm::operator()(Conv2d& conv, const Tensor& x, const Tensor& residual) {
  if (Observer::any() && !residual.defined()) return (*this)(conv(x));
  return forward(&conv, x, residual, activation, max_pool);
}

Tensor Norm::forward(Conv2d* conv, const Tensor& x, const Tensor& residual, const Activation& f,
                     const std::optional<Pair>& pool) {
  const bool fixed = source == Statistics::Source::given;
  const bool by_population = !is_training() && (evaluation == EvalStatistics::population || fixed);
  const std::vector<Tensor> residuals = residual.defined() ? std::vector{residual} : std::vector<Tensor>();
  if (!conv || !by_population || !has_population() || running_mean.numel() != channels_ || collect ||
      domains.count > 0 || Tape::current() || Observer::any())
    return normalize({conv ? (*conv)(x) : x}, residuals, f, pool)[0];
  NormOptions options = this->options(f);
  options.residual = residuals;
  return conv2d_norm(x, conv->filters(), conv->bias, conv->options,
                     {Samples::whole(), grouping.positions, grouping.channels},
                     Statistics::given(running_mean, running_var), weight, bias, options, pool);
}

std::vector<Tensor> Norm::normalize(const std::vector<Tensor>& xs, const std::vector<Tensor>& residual,
                                    const Activation& f, const std::optional<Pair>& pool) {
  using Source = Statistics::Source;
  for (const Tensor& x : xs)
    check(x.rank() >= 2 && x.dim(-1) == channels_, type(), "wants [N, ..., {}]: input {}", channels_, x.shape());
  std::vector<Tensor> ys = xs;
  const auto finish = [&](Tensor y, size_t i) {
    if (!residual.empty()) y = y + residual[i];
    if (f.kind == Activation::Kind::relu) y = relu(y);
    if (f.kind == Activation::Kind::leaky_relu) y = leaky_relu(y, f.slope);
    return pool ? max_pool2d(y, {.kernel = *pool}) : y;
  };
  if (identity) {
    for (size_t i = 0; i < ys.size(); ++i) ys[i] = finish(ys[i], i);
    return ys;
  }
  NormOptions options = this->options(f);
  options.residual = residual;
  const auto apply = [&](const Grouping& by, const Statistics& statistics) {
    if (pool && xs.size() == 1)
      return std::vector{norm_max_pool(xs[0], by, statistics, weight, bias, {.kernel = *pool}, options)};
    std::vector<Tensor> normalized = norma::norm(xs, by, statistics, weight, bias, options);
    for (Tensor& y : normalized) y = pool ? max_pool2d(y, {.kernel = *pool}) : y;
    return normalized;
  };
  if (!has_population()) return apply(grouping, {});

  const int64_t groups = grouping.channels.count == 0 ? channels_ : grouping.channels.count;
  const bool own_batch = domains.count > 0 && domains.batch, own_rows = domains.count > 0 && domains.population,
             own_affine = domains.count > 0 && domains.affine && weight.defined();
  check(grouping.positions == Positions::all, type(), "keeps no population of single positions, under {}",
        grouping.str());
  check(!(own_batch || own_rows || own_affine) || ids.defined(), type(),
        "wants the domain of each sample: set_domains(model, ids)");
  if (!running_mean.defined() || running_mean.numel() != groups * (own_rows ? domains.count : 1)) reset_population();

  const auto cut = [&](bool by_domain) {
    return Grouping{by_domain ? Samples::labels(ids, domains.count) : Samples::whole(), grouping.positions,
                    grouping.channels};
  };
  // The rule keeps the statistics it was given, and a later step moves these: it gets copies.
  const auto population = [&] {
    return Statistics{Source::given, running_mean.clone(), running_var.clone(), r_max, d_max};
  };
  const bool training = is_training(), fixed = source == Source::given;
  if (training ? fixed : !collect && (evaluation == EvalStatistics::population || fixed)) {
    ys = apply(cut(own_rows || own_affine), population());
    if (collect) collect(xs, norma::moments(xs, cut(own_batch)));
    return ys;
  }

  Moments moments;
  options.moments = &moments;
  Statistics statistics = training && source == Source::renorm ? population() : Statistics{};
  if (training) statistics.source = source;
  const Grouping by = training && !own_batch ? grouping : cut(own_batch);
  if (!own_affine || own_batch) {
    ys = apply(by, statistics);
  } else {  // the op takes an affine part of each domain only where it normalizes by domain
    options.activation = {};
    options.residual = {};
    ys = norma::norm(xs, by, statistics, {}, {}, options);
    for (size_t i = 0; i < ys.size(); ++i) {
      const int64_t n = xs[i].dim(0);
      const auto rows = [&](const Tensor& p) {
        return reshape(index_select(p, 0, ids.to(p.device())), {n, 1, channels_});
      };
      const Tensor y = reshape(ys[i], {n, n > 0 ? -1 : 1, channels_}) * rows(weight);
      ys[i] = finish(reshape(bias.defined() ? y + rows(bias) : y, xs[i].shape()), i);
    }
  }
  const bool follows = !collect && training && Tape::current(), cells = collect && training;
  if (own_rows && !own_batch && !cells && (follows || collect)) moments = norma::moments(xs, cut(true));
  if (collect) collect(xs, cells || own_rows ? moments : merge_sets(moments));
  if (follows)
    kernel::follow_moments(moments.count, moments.mean, moments.m2,
                           estimator.kind == Estimator::Kind::ema ? estimator.momentum : -1, running_mean, running_var,
                           num_batches_tracked);
  return ys;
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
