// The normalization family made of plain ops, each with a gradient of its own: slow, short, and the oracle of ops/norm.
#pragma once

#include "norma/ops/norm/norm.h"
#include "tests/golden.h"

namespace norma::test {

// The set of each sample, worked out from the definitions rather than by plan_norm.
inline std::vector<int64_t> reference_sets(const Samples& samples, int64_t n, int64_t& sets) {
  std::vector<int64_t> ids(static_cast<size_t>(n), 0);
  sets = 1;
  if (samples.kind == Samples::Kind::each) {
    sets = n;
    for (int64_t i = 0; i < n; ++i) ids[static_cast<size_t>(i)] = i;
  } else if (samples.kind == Samples::Kind::labels) {
    sets = samples.size;
    ids = samples.ids.to_vector<int64_t>();
  } else if (samples.kind == Samples::Kind::chunks) {
    sets = (n + samples.size - 1) / samples.size;
    const auto shortest = [&] { return n / sets; };
    while (samples.size > 1 && n > 1 && shortest() == 1) --sets;
    std::vector<int64_t> sizes(static_cast<size_t>(sets), shortest());
    for (int64_t i = 0; i < n - sets * shortest(); ++i) ++sizes[static_cast<size_t>(i)];
    size_t at = 0;
    for (size_t set = 0; set < sizes.size(); ++set)
      for (int64_t i = 0; i < sizes[set]; ++i) ids[at++] = static_cast<int64_t>(set);
  }
  return ids;
}

inline std::vector<Tensor> reference_norm(const std::vector<Tensor>& xs, const Grouping& grouping,
                                          const Statistics& statistics, const Tensor& gamma, const Tensor& beta,
                                          const NormOptions& options) {
  const DType dtype = xs[0].dtype();
  const int64_t n = xs[0].dim(0), channels = xs[0].dim(-1);
  if (options.normalized_channels >= 0 &&
      options.normalized_channels < channels) {  // half instance norm: normalize one part, pass the other on
    std::vector<Tensor> heads, ys;
    for (const Tensor& x : xs) heads.push_back(slice(x, -1, 0, options.normalized_channels));
    heads = reference_norm(heads, grouping, statistics, gamma, beta, {.eps = options.eps, .center = options.center});
    for (size_t i = 0; i < xs.size(); ++i) {
      Tensor y = concat({heads[i], slice(xs[i], -1, options.normalized_channels, channels)}, -1);
      if (!options.residual.empty()) y = y + options.residual[i];
      if (options.activation.kind == Activation::Kind::relu) y = relu(y);
      if (options.activation.kind == Activation::Kind::leaky_relu) y = leaky_relu(y, options.activation.slope);
      ys.push_back(y);
    }
    return ys;
  }
  int64_t sets = 0;
  const std::vector<int64_t> ids = reference_sets(grouping.samples, n, sets);
  const Tensor index = tensor(ids, {n}).to(xs[0].device());
  const Tensor member = transpose(one_hot(index, sets, dtype), 0, 1);  // [S, N]
  const int64_t groups = grouping.channels.count == 0 ? channels : grouping.channels.count;

  // x as [N, Q, R, G, C/G]: Q positions that are by themselves, R that share.
  std::vector<Tensor> parts;
  std::vector<int64_t> q;
  for (const Tensor& x : xs) {
    const int64_t positions = x.numel() / (x.dim(0) * channels);
    q.push_back(grouping.positions == Positions::each ? positions : 1);
    parts.push_back(reshape(x, {x.dim(0), q.back(), positions / q.back(), groups, channels / groups}));
  }
  const auto set_sum = [&](const Tensor& x) {  // [S, Q * G]
    return matmul(member, reshape(sum(x, {2, 4}), {x.dim(0), -1}));
  };
  const auto spread = [&](const Tensor& s) {  // [S, Q * G] or [1, Q * G] -> [N, Q, 1, G, 1]
    if (s.dim(0) != sets) return reshape(s, {1, q[0], 1, groups, 1});
    return reshape(index_select(s, 0, index), {n, q[0], 1, groups, 1});
  };
  const Device device = xs[0].device();
  Tensor count = zeros({sets, 1}, dtype, device);
  for (const Tensor& x : parts)
    count = count + reshape(sum(member, {1}), {sets, 1}) * static_cast<double>(x.dim(2) * x.dim(4));
  count = maximum(count, 1);  // empty cells

  // The groups of the variance, where they are others than the mean's: wide ones of `ratio` of these.
  const Grouping& scales = options.scale ? *options.scale : grouping;
  const int64_t wide = scales.channels.count == 0 ? channels : scales.channels.count, ratio = groups / wide;
  const auto known = [&](const Tensor& p) {  // [1 or S, Q * G]; one entry a group holds at every position
    if (p.numel() == groups)
      return reshape(concat(std::vector<Tensor>(static_cast<size_t>(q[0]), p.to(dtype)), 0), {1, -1});
    return reshape(p.to(dtype), {-1, q[0] * groups});
  };
  // The mean of a value an element over the cells of the variance, as a value for each sample, position and group.
  const auto scale_mean = [&](const Tensor& x) {  // [N, Q, R, G, C/G] -> [N, Q, 1, G, 1]
    int64_t wide_sets = 0;
    const Tensor wide_index = tensor(reference_sets(scales.samples, n, wide_sets), {n}).to(xs[0].device());
    const Tensor wide_member = transpose(one_hot(wide_index, wide_sets, dtype), 0, 1);
    const int64_t apart = scales.positions == Positions::each ? q[0] : 1;
    const Tensor by_sample = sum(reshape(x, {n, apart, q[0] / apart * x.dim(2), wide, channels / wide}), {2, 4});
    const Tensor members = maximum(reshape(sum(wide_member, {1}), {-1, 1}), 1);
    const Tensor mean = matmul(wide_member, reshape(by_sample, {n, -1})) /
                        (members * static_cast<double>(q[0] / apart * x.dim(2) * channels / wide));
    const Tensor back = reshape(index_select(mean, 0, wide_index), {n, apart, 1, wide, 1, 1});
    const Tensor ones_there = ones({n, q[0], 1, wide, ratio, 1}, dtype, xs[0].device());
    return reshape(back * ones_there, {n, q[0], 1, groups, 1});
  };
  Tensor mean, var;
  if (statistics.source == Statistics::Source::given) {
    mean = options.center ? known(statistics.mean) : known(zeros_like(statistics.mean));
    var = known(statistics.var);
  } else {
    mean = zeros({sets, q[0] * groups}, dtype, device);
    if (options.center) {
      for (const Tensor& x : parts) mean = mean + set_sum(x);
      mean = mean / count;
    }
    var = zeros({sets, q[0] * groups}, dtype, device);
    for (const Tensor& x : parts) var = var + set_sum(square(x - spread(mean)));
    var = var / count;
  }
  std::vector<Tensor> ys;
  for (size_t i = 0; i < parts.size(); ++i) {
    Tensor center = spread(mean), variance = spread(var);
    if (options.scale && statistics.source != Statistics::Source::given)
      variance = scale_mean(square(parts[i] - center));
    if (statistics.source == Statistics::Source::mixed) {
      const Tensor own = spread(known(statistics.alpha)),
                   d = options.center ? center - spread(known(statistics.mean)) : zeros_like(center);
      variance = own * variance + (1 - own) * spread(known(statistics.var));
      if (statistics.of_mixture) variance = variance + own * (1 - own) * square(d);
      center = center - (1 - own) * d;
    }
    Tensor y = (parts[i] - center) * rsqrt(variance + options.eps);
    if (statistics.source == Statistics::Source::renorm) {
      const Tensor pop_mean = known(statistics.mean), pop_s = sqrt(known(statistics.var) + options.eps);
      const Tensor s = sqrt(variance.detach() + options.eps);
      const Tensor r = clamp(s / spread(pop_s), 1 / statistics.r_max, statistics.r_max);
      const Tensor d = clamp((center.detach() - spread(pop_mean)) / spread(pop_s), -statistics.d_max, statistics.d_max);
      y = y * r + d;
    }
    y = reshape(y, {xs[i].dim(0), -1, channels});
    const auto rows = [&](const Tensor& p) {
      const bool by_label = grouping.samples.kind == Samples::Kind::labels && p.dim(0) == sets;
      return p.rank() == 2 ? reshape(by_label ? index_select(p, 0, index) : p, {n, 1, channels}) : p;
    };
    if (gamma.defined()) y = y * rows(gamma);
    if (beta.defined()) y = y + rows(beta);
    y = reshape(y, xs[i].shape());
    if (!options.residual.empty()) y = y + options.residual[i];
    if (options.activation.kind == Activation::Kind::relu) y = relu(y);
    if (options.activation.kind == Activation::Kind::leaky_relu) y = leaky_relu(y, options.activation.slope);
    ys.push_back(y);
  }
  return ys;
}

}  // namespace norma::test
