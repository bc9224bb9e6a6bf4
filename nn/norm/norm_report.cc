#include "norma/nn/norm/norm_report.h"

#include <cmath>

#include "norma/ops/elementwise/binary.h"
#include "norma/ops/reduce/reduce.h"
#include "norma/ops/shape/concat.h"

namespace norma::nn {
static Moments population_of(const Norm& norm) {  // [1 or domains, groups]
  const Tensor mean = view::reshape(norm.running_mean, {-1, norm.running_mean.dim(-1)});
  return {ones_like(mean), mean, view::reshape(norm.running_var, mean.shape())};
}

// The symmetric KL divergence of p from q, [groups]: the mean over the sets of p that hold anything, each against the
// same set of q or, where q has another number of sets, against each of them.
static Tensor divergence(const Moments& p, const Moments& q, double eps) {
  const int64_t groups = p.mean.dim(1);
  const bool paired = p.mean.dim(0) == q.mean.dim(0);
  const auto left = [&](const Tensor& x) { return paired ? x : view::reshape(x, {-1, 1, groups}); };
  const auto var = [&](const Moments& m) { return m.m2 / maximum(m.count, 1) + eps; };
  const Tensor v = left(var(p)), w = var(q), d = left(p.mean) - q.mean;
  const Tensor counted = left(gt(p.count, 0).to(f64)) * gt(q.count, 0).to(f64);
  const Tensor kl = ((v - w) * (v - w) / (v * w) + d * d * (1 / v + 1 / w)) * counted * 0.25;
  const auto total = [&](const Tensor& x) { return sum(view::reshape(x, {-1, groups}), {0}); };
  return total(kl) / maximum(total(counted), 1);
}

// How many steps of equal weight the population is worth: (sum of weights)^2 / sum of squared weights, over the steps
// that it is an average of.
static double effective_steps(const Norm& norm) {
  const double t = min(norm.num_batches_tracked.to(f64)).item(), m = norm.estimator.momentum.value_or(0);
  if (norm.source == Statistics::Source::given) return 0;
  if (t == 0 || m == 0) return t;
  return (2 - m) / m * (1 - std::pow(1 - m, t)) / (1 + std::pow(1 - m, t));
}

NormReport norm_report(Module& model, const data::DataLoader& loader, const NormReportOptions& options) {
  const int64_t batch = options.batch > 0 ? options.batch : loader.options().batch;
  const int64_t domains = options.domains.defined() ? 1 + static_cast<int64_t>(max(options.domains.to(f64)).item()) : 0;
  const bool shuffles = loader.options().shuffle;
  std::map<Norm*, Moments> precise, by_domain;
  const CollectMoments merge_all = [&](Norm& norm, const auto& xs, const Moments& m) {
    precise[&norm] = merge(precise[&norm], m);
    if (domains == 0) return;
    const Grouping by{Samples::labels(norm.ids, domains), norm.grouping.positions, norm.grouping.channels};
    by_domain[&norm] = merge(by_domain[&norm], moments(xs, by, norm.center));
  };
  collect_moments(model, true, false, merge_all, [&] {
    run_batches(model, loader, options.samples, std::max<int64_t>(batch, 512), true, options.domains);
  });
  const auto merge_shares = [&](std::map<Norm*, Moments>& of, bool across) {
    for_each_norm(model, [&](const std::string&, Norm& norm) {  // in an order that is the same for all workers
      Communicator* merged = across ? norm.grouping.samples.comm : nullptr;
      // (Of divergences, too, whose m2 is 0: there is nothing to pool.)
      if (of.contains(&norm)) of[&norm] = norm.pooled(merge_workers(loader.options().worker, merged, of[&norm]));
    });
  };
  merge_shares(precise, true);
  merge_shares(by_domain, false);
  // How far the cells of training batches are from the population, and from the precise one: the mean over the batches,
  // [2, groups].
  const auto stray = [&](bool shuffle) {
    std::map<Norm*, Moments> result;  // of which the mean is meant
    const CollectMoments add = [&](Norm& norm, const auto&, const Moments& cells) {
      const Tensor kl =
          stack({divergence(cells, population_of(norm), norm.eps), divergence(cells, precise[&norm], norm.eps)});
      const bool counts = max(cells.count).item() > 0;  // else a worker's empty share
      const Tensor none = zeros_like(kl);
      result[&norm] = merge(result[&norm], {none + counts, counts ? kl : none, none});
    };
    collect_moments(model, true, true, add,
                    [&] { run_batches(model, loader, options.samples, batch, shuffle, options.domains); });
    merge_shares(result, false);
    return result;
  };
  auto training = stray(shuffles), shuffled = shuffles ? training : stray(true);

  NormReport report;
  for_each_norm(model, [&](const std::string& path, Norm& norm) {
    if (!precise.contains(&norm)) return;
    const auto level = [](const Tensor& x) { return mean(x).item(); };
    const Moments& all = precise[&norm];
    const Tensor& own = training[&norm].mean;
    report.layers.push_back({path, norm.type(), level(own[0]), max(own[0]).item(), level(own[1]),
                             level(shuffled[&norm].mean[1]), level(divergence(population_of(norm), all, norm.eps)),
                             domains > 0 ? level(divergence(by_domain[&norm], merge_sets(all), norm.eps)) : 0,
                             effective_steps(norm) * static_cast<double>(batch)});
  });
  return report;
}

std::string NormReport::Layer::verdict() const {
  std::string text;
  if (inconsistent()) text += "; train and test inconsistent";
  if (batch_too_small()) text += "; normalization batch too small";
  if (stale()) text += effective_samples > 0 ? "; EMA stale" : "; population does not fit";
  if (not_iid()) text += "; batches not i.i.d.";
  return !text.empty() ? text.substr(2) : kl > kSmallKl ? "fair" : "good";
}

std::string NormReport::str() const {
  size_t path = 5, type = 4;
  for (const Layer& l : layers) path = std::max(path, l.path.size()), type = std::max(type, l.type.size());
  const auto kl = [](double x) { return x < 0.00005 ? std::string("< 0.0001") : fmt::format("{:.4f}", x); };
  const auto row = [&](const auto& a, const auto& b, const auto&... rest) {
    return fmt::format("{:<{}}  {:<{}}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {}\n", a, path, b, type, rest...);
  };
  std::string text = row("layer", "type", "KL", "worst", "noise", "lag", "samples", "verdict");
  for (const Layer& l : layers)
    text += row(l.path, l.type, kl(l.kl), kl(l.worst), kl(l.noise), kl(l.lag),
                l.effective_samples > 0 ? fmt::format("{:.0f}", l.effective_samples) : "-", l.verdict());
  const double most = inconsistency();
  const char* size = most > kLargeKl ? "large" : most > kSmallKl ? "moderate" : "small";
  return text + fmt::format("train-test inconsistency: {} (at most {} nats a channel)\n", size, kl(most));
}

}  // namespace norma::nn
