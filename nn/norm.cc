#include "norma/nn/norm.h"

namespace norma::nn {

Norm::Norm(int64_t channels, const NormSettings& settings) : NormSettings(settings), channels_(channels) {
  check(channels >= 1, "Norm", "{} channels: want at least 1", channels);
  check(estimator.momentum >= 0 && estimator.momentum <= 1, "Norm", "a momentum of {}: want one in [0, 1]",
        estimator.momentum);
  check(!half || (!grouping.over_samples() && grouping.channels.count == 0), "Norm", "half norm wants {}, not {}",
        instance().str(), grouping.str());
  if (affine) {
    const int64_t size = half ? (channels + 1) / 2 : channels;
    weight = Parameter(ones({size}));
    if (center) bias = Parameter(zeros({size}));
  }
  if (has_population()) reset_population();
}

std::string Norm::type() const {
  using Kind = Samples::Kind;
  if (source == Statistics::Source::given) return "FrozenBatchNorm";
  if (source == Statistics::Source::renorm) return "BatchRenorm";
  const int64_t count = grouping.channels.count;
  const bool of_channels = count == 0 && grouping.positions == Positions::all;
  switch (grouping.samples.kind) {
    case Kind::whole: return of_channels ? "BatchNorm" : fmt::format("Norm({})", grouping.str());
    case Kind::chunks: return of_channels ? fmt::format("GhostBatchNorm({})", grouping.samples.size) : grouping.str();
    case Kind::across: return "SyncBatchNorm";
    case Kind::labels: return "DomainBatchNorm";
    case Kind::each: break;
  }
  if (half) return "HalfInstanceNorm";
  if (!center) return "RMSNorm";
  if (count == 1) return "LayerNorm";
  return of_channels ? "InstanceNorm" : fmt::format("GroupNorm({})", count);
}

bool Norm::has_population() const { return grouping.over_samples() || source != Statistics::Source::batch; }

void Norm::reset_population() {
  const int64_t groups = grouping.channels.count == 0 ? channels_ : grouping.channels.count;
  const Device device = weight.defined() ? weight.device() : cpu_device;
  running_mean = Buffer(zeros({groups}, f64, device));
  running_var = Buffer(ones({groups}, f64, device));
  num_batches_tracked = Buffer(zeros({}, i64, device));
}

void Norm::follow(const Moments& moments) {
  // Over the cells that hold anything: the mean of their means, and of their variances corrected by M / (M - 1).
  const int64_t sets = moments.count.dim(0), groups = moments.count.dim(1);
  const double *count = moments.count.data<double>(), *mean = moments.mean.data<double>(),
               *m2 = moments.m2.data<double>();
  const double seen = num_batches_tracked.item();
  const double weight_of_new = estimator.kind == Estimator::Kind::ema ? estimator.momentum : 1 / (seen + 1);
  const Tensor new_mean = running_mean.to(cpu_device).clone(), new_var = running_var.to(cpu_device).clone();
  for (int64_t g = 0; g < groups; ++g) {
    double mean_sum = 0, var_sum = 0, cells = 0;
    for (int64_t i = g; i < sets * groups; i += groups) {
      if (count[i] < 2) continue;
      mean_sum += mean[i];
      var_sum += m2[i] / (count[i] - 1);
      ++cells;
    }
    if (cells == 0) continue;
    double &to_mean = new_mean.mutable_data<double>()[g], &to_var = new_var.mutable_data<double>()[g];
    to_mean = (1 - weight_of_new) * to_mean + weight_of_new * mean_sum / cells;
    to_var = (1 - weight_of_new) * to_var + weight_of_new * var_sum / cells;
  }
  running_mean.copy_from(new_mean);
  running_var.copy_from(new_var);
  num_batches_tracked.fill(seen + 1);
}

std::vector<Tensor> Norm::normalize(const std::vector<Tensor>& xs, const std::vector<Tensor>& residual) {
  using Source = Statistics::Source;
  for (const Tensor& x : xs)
    check(x.rank() >= 2 && x.dim(-1) == channels_, type(), "wants [N, ..., {}]: input {}", channels_, x.shape());
  const int64_t groups = grouping.channels.count == 0 ? channels_ : grouping.channels.count;
  if (has_population() && (!running_mean.defined() || running_mean.numel() != groups)) reset_population();

  NormOptions options{.eps = eps,
                      .activation = activation,
                      .center = center,
                      .leading = half ? (channels_ + 1) / 2 : -1,
                      .residual = residual};
  if (!has_population()) return norma::norm(xs, grouping, {}, weight, bias, options);

  const Grouping whole_batch{Samples::whole(), grouping.positions, grouping.channels};
  Moments moments;
  options.moments = &moments;
  if (collect) {
    std::vector<Tensor> ys = norma::norm(xs, whole_batch, {}, weight, bias, options);
    collect(xs, moments);
    return ys;
  }
  const bool training = is_training();
  if (!training && evaluation == EvalStatistics::mini_batch && source != Source::given)
    return norma::norm(xs, whole_batch, {}, weight, bias, options);
  // The rule keeps the statistics it was given, and a later step moves these: it gets copies.
  const auto population = [&] {
    return Statistics{Source::given, running_mean.clone(), running_var.clone(), r_max, d_max};
  };
  if (!training || source == Source::given) return norma::norm(xs, whole_batch, population(), weight, bias, options);
  Statistics statistics = source == Source::renorm ? population() : Statistics{};
  statistics.source = source;
  std::vector<Tensor> ys = norma::norm(xs, grouping, statistics, weight, bias, options);
  if (Tape::current()) follow(moments);
  return ys;
}

Norm BatchNorm(int64_t channels, const BatchNormOptions& o) {
  return Norm(channels, {.grouping = o.normalization_batch > 0 ? chunks(o.normalization_batch) : whole(),
                         .estimator = Estimator::ema(o.momentum),
                         .activation = o.activation,
                         .eps = o.eps,
                         .affine = o.affine});
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

}  // namespace norma::nn
