#include "norma/ops/norm/norm.h"

#include <algorithm>
#include <cmath>

#include "norma/autograd/op.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/cast.h"
#include "norma/ops/norm/kernels.h"
#include "norma/ops/reduce/reduce.h"
#include "norma/ops/shape/concat.h"

namespace norma {
namespace {

// NormCall::population, from what the caller gave.
Tensor population_of(const Op& op, const Statistics& statistics, const NormPlan& plan, bool center) {
  const bool mixed = statistics.source == Statistics::Source::mixed;
  op.check(statistics.alpha.defined() == mixed, "statistics that are mixed want alpha, and no others do");
  if (statistics.source == Statistics::Source::batch) return {};
  const Tensor &mean = statistics.mean, &var = statistics.var, &alpha = mixed ? statistics.alpha : mean;
  op.check(mean.defined() && var.defined(), "statistics that are given want a mean and a variance");
  op.check(mean.is_floating() && var.is_floating() && mean.shape() == var.shape() &&
               (mean.numel() == plan.groups || mean.numel() == plan.cells()),
           "given statistics of shapes {} and {} for {} sets x {} channel groups: want one entry a group or one a cell",
           mean.shape(), var.shape(), plan.sets, plan.groups);
  op.check(alpha.is_floating() && alpha.shape() == mean.shape(), "alpha of shape {}: want {}, floating, as the mean",
           alpha.shape(), mean.shape());
  op.check(mean.device() == var.device() && mean.device() == alpha.device(),
           "devices differ: not all on {}, as the mean", mean.device());
  const bool given = statistics.source == Statistics::Source::given;
  const Tensor rows = full({3, mean.numel()}, given ? 0 : 1, f64, mean.device());  // the last one is alpha
  for (int64_t k = 0; const Tensor& x : {center ? mean : zeros_like(mean), var, statistics.alpha}) {
    if (x.defined()) view::reshape(view::slice(rows, 0, k, k + 1), mean.shape()).copy_from(x);
    ++k;
  }
  return rows;
}

// The number of groups that share a variance.
int64_t pool_of(const Op& op, const Grouping& grouping, const Grouping& scale, int64_t channels) {
  const auto count = [=](const Grouping& g) { return g.channels.count != 0 ? g.channels.count : channels; };
  const Grouping wide = {scale.samples, scale.positions, grouping.channels};
  op.check(wide.str() == grouping.str() && wide.samples.comm == grouping.samples.comm && count(scale) >= 1 &&
               wide.samples.ids.identity() == grouping.samples.ids.identity() && count(grouping) % count(scale) == 0,
           "a mean over {} and a variance over {}: want that of more channels, and else the same", grouping, scale);
  return count(grouping) / count(scale);
}

// Cells of one element have a variance of 0 whatever the element: an error, not a silent beta.
void check_cell_size(const char* op, double elements, int64_t set, const Grouping& grouping, const Shape& shape) {
  check(elements != 1, op, "{} {} under {} holds a single element, whose variance says nothing: input {}; {}",
        grouping.samples.kind == Samples::Kind::labels ? "the cell of label" : "cell", set, grouping, shape,
        grouping.over_samples() ? "use a larger batch or chunk, or given statistics"
                                : "share statistics with more channels or positions, or use given statistics");
}

// norm() in double, for what float cannot hold. (On CUDA the sums look after themselves: cuda/sums.h.)
std::vector<Tensor> norm_in_double(std::vector<Tensor> xs, const Grouping& grouping, const Statistics& statistics,
                                   const Tensor& gamma, const Tensor& beta, NormOptions options) {
  const auto wide = [](const Tensor& x) { return x.defined() ? to(x, f64) : x; };
  for (Tensor& x : xs) x = wide(x);
  for (Tensor& x : options.residual) x = wide(x);
  options.post_bias = wide(options.post_bias);
  std::vector<Tensor> ys = norm(xs, grouping, statistics, wide(gamma), wide(beta), options);
  for (Tensor& y : ys) y = to(y, f32);
  return ys;
}

}  // namespace

bool is_by_sample(const Tensor& p, const Grouping& grouping) {
  return p.defined() && p.rank() == 2 &&
         (grouping.samples.kind != Samples::Kind::labels || p.dim(0) != grouping.samples.size);
}

void NormCall::merge_over_workers() const {
  if (!comm) return;
  const Tensor all = comm->all_gather(view::slice(cells, 0, kCellCount, kCellMean + 1));
  const auto part = [&](NormCellPart k) { return view::reshape(view::slice(all, 1, k, k + 1), {-1, plan.cells()}); };
  const Moments merged = merge_sets({part(kCellCount), part(kCellMean), part(kCellM2)});
  for (const auto& [k, x] : {std::pair(kCellCount, merged.count), {kCellMean, merged.mean}, {kCellM2, merged.m2}})
    view::slice(cells, 0, k, k + 1).copy_from(x);
  const Tensor counts = view::slice(cells, 0, kCellCount, kCellCount + 1).to(cpu_device).contiguous();
  for (int64_t set = 0; set < plan.sets && center && source != Source::mixed; ++set)
    check_cell_size("norm", counts.data<double>()[set * plan.groups], set, across(*comm),
                    {plan.rows[0], plan.channels});
}

NormCall::NormCall(const Op& op, const std::vector<Tensor>& xs, const Grouping& grouping, const Statistics& statistics,
                   const Tensor& gamma_, const Tensor& beta_, const NormOptions& options)
    : NormOptions(options), Statistics(statistics), comm(measured() ? grouping.samples.comm : nullptr) {
  for (const Tensor& x : xs) op.check_same({xs[0], x, gamma_, beta_, post_bias});
  op.check(!gamma_.defined() || !beta_.defined() || gamma_.shape() == beta_.shape(), "gamma is {}, beta is {}",
           gamma_.defined() ? gamma_.shape() : Shape{}, beta_.defined() ? beta_.shape() : Shape{});
  op.check(!scale || (center && normalized_channels < 0 && !of_mixture),
           "a variance of its own wants centering, all channels, and no mixture's");
  plan = plan_norm(op.name(), grouping, xs, normalized_channels, !scale);
  if (scale) plan.pool = pool_of(op, grouping, *scale, plan.affine_channels);
  if (const Tensor& p = gamma_.defined() ? gamma_ : beta_; p.defined()) {
    const bool fits = p.rank() == 1 || (p.rank() == 2 && (!is_by_sample(p, grouping) || p.dim(0) == xs[0].dim(0)));
    op.check(fits && p.dim(-1) == plan.affine_size(), "{} of shape {} for {} channels under {}: input {}",
             gamma_.defined() ? "gamma" : "beta", p.shape(), plan.affine_size(), grouping, xs[0].shape());
    if (p.rank() == 2) plan.affine_sets = p.dim(0);
  }
  op.check(!post_bias.defined() || (post_bias.shape() == Shape{plan.affine_channels} && normalized_channels < 0),
           "a post_bias of shape {} for {} channels: wants all channels normalized",
           post_bias.defined() ? post_bias.shape() : Shape{}, plan.affine_channels);
  op.check(eps >= 0 && std::isfinite(eps), "an eps of {}: want 0 or more", eps);
  op.check(std::isfinite(activation.slope), "an activation's slope of {}", activation.slope);
  op.check(options.residual.empty() || options.residual.size() == xs.size(), "{} residuals for {} inputs",
           options.residual.size(), xs.size());
  for (size_t i = 0; i < options.residual.size(); ++i) {
    op.check_same({xs[0], options.residual[i]});
    op.check(options.residual[i].shape() == xs[i].shape(), "residual {} for output {}", options.residual[i].shape(),
             xs[i].shape());
  }
  if (source == Source::renorm)
    op.check(r_max >= 1 && d_max >= 0, "renorm wants r_max >= 1 and d_max >= 0, not {} and {}", r_max, d_max);
  for (int64_t set = 0; set < (plan.row_sets ? std::min<int64_t>(plan.sets, 1) : plan.sets); ++set)
    if (measured() && source != Source::mixed && center && !comm)
      check_cell_size(op.name(), static_cast<double>(plan.elements(set)), set, grouping, xs[0].shape());

  population = population_of(op, statistics, plan, center);
  cells = Tensor({kNormCellParts, plan.cells()}, f64, xs[0].device());
  op.check(!learns_alpha || (plan.channels == plan.affine_channels && normalized_channels < 0),
           "alpha is learned where positions share statistics, and all channels are normalized");
  if (gamma_.defined()) gamma = gamma_.contiguous().detach();
  if (beta_.defined()) beta = beta_.contiguous().detach();
  if (post_bias.defined()) post_bias = post_bias.contiguous().detach();
  if (learns_alpha) plan.affine_sets = plan.sets;
}

void NormCall::save(const Op& op) {
  if (learns_alpha) {
    const auto of = [&](int64_t k) { return view::reshape(population[k], {-1, plan.groups}); };
    const Tensor means = part(kCellOwn) - of(0), vars = part(kCellM2) / maximum(part(kCellCount), 1) - of(1);
    away = stack({of_mixture ? vars + (1 - 2 * of(2)) * means * means : vars, means});
    alpha = alpha.detach();
  }
  // The variance of a mixture is about the mean of both, as the gradient has it from here on.
  if (of_mixture) part(kCellOwn).copy_from(part(kCellMean));
  mean = var = population = post_bias = {};  // which only the forward pass reads
  residual.clear();
  saved = {op.save(gamma), op.save(beta), op.save(cells)};
}

Tensor NormCall::affine_gradients(const Sink& sink, size_t first) const {
  if (!sink.wants(first) && !sink.wants(first + 1) && !learns_alpha) return {};
  return zeros({2, plan.affine_sets, plan.affine_size()}, f64, cells.device());
}

void NormCall::give(const Tensor& affine, Sink& sink, size_t first) const {
  for (int k : {0, 1}) {
    const Tensor& p = k == 0 ? gamma : beta;
    if (!sink.wants(first + k)) continue;
    sink.give(first + k, view::reshape(view::slice(affine, 0, k, k + 1), p.shape()).to(p.dtype()));
  }
}

Tensor NormCall::alpha_gradient(const Tensor& affine) const {
  const Tensor sums = sum(view::reshape(affine, {2, plan.sets, plan.groups, plan.group_size}), {3});  // of g xhat and g
  const Tensor rstd = part(kCellRstd), of_cells = -rstd * (sums[0] * away[0] * rstd / 2 + sums[1] * away[1]);
  return view::reshape(alpha.numel() == plan.groups ? sum(of_cells, {0}) : of_cells, alpha.shape()).to(alpha.dtype());
}

Moments NormCall::cell_moments() const {
  return {part(kCellCount).clone(), part(source == Source::mixed ? kCellOwn : kCellMean).clone(),
          part(kCellM2).clone()};
}

std::vector<Tensor> norm(const std::vector<Tensor>& xs, const Grouping& grouping, const Statistics& statistics,
                         const Tensor& gamma, const Tensor& beta, const NormOptions& options) {
  const Op op("norm");
  const Tensor& p = gamma.defined() ? gamma : beta;
  const bool by_sample = is_by_sample(p, grouping), activates = options.activation.kind != Activation::Kind::none;
  // In a second norm, by which each sample is a set, or alpha's gradient is made of sums that no gamma has weighed.
  if ((by_sample && grouping.over_samples()) ||
      (Op::records({statistics.alpha}) &&
       (p.defined() || activates || !options.residual.empty() || options.post_bias.defined()))) {
    NormOptions first = options;
    first.activation = {};
    first.residual = {};
    first.post_bias = {};
    const std::vector<Tensor> normalized = norm(xs, grouping, statistics, {}, {}, first);
    const Tensor zero = zeros({xs[0].dim(-1)}, f64, xs[0].device());
    return norm(
        normalized, by_sample ? instance() : Grouping{grouping.samples}, Statistics::given(zero, ones_like(zero)),
        gamma, beta,
        {.eps = 0, .activation = options.activation, .residual = options.residual, .post_bias = options.post_bias});
  }
  NormCall call(op, xs, grouping, statistics, gamma, beta, options);
  const bool adds = !options.residual.empty(), keeps_mask = adds && options.activation.kind != Activation::Kind::none;
  std::vector<Tensor> inputs, residuals, outputs, masks;
  for (size_t i = 0; i < xs.size(); ++i) {
    inputs.push_back(xs[i].contiguous().detach());
    outputs.push_back(empty_like(xs[i]));
    residuals.push_back(adds ? options.residual[i].contiguous() : Tensor());
    masks.push_back(keeps_mask ? Tensor(xs[i].shape(), u8, xs[i].device()) : Tensor());
  }
  if (call.plan.sets > 0) kernel::norm_forward(inputs, call, {residuals, outputs, masks});
  if (call.far_out && xs[0].dtype() == f32) return norm_in_double(xs, grouping, statistics, gamma, beta, options);
  if (options.moments && call.measured()) *options.moments = call.cell_moments();

  std::vector<Tensor> recorded = xs;
  recorded.insert(recorded.end(), {gamma, beta, statistics.alpha, options.post_bias});
  recorded.insert(recorded.end(), options.residual.begin(), options.residual.end());
  if (!Op::records(recorded)) return outputs;
  call.save(op);
  for (const std::vector<Tensor>* kept : {&inputs, &masks})
    for (const Tensor& x : *kept) call.saved.push_back(op.save(x));
  op.record_all(recorded, outputs,
                [call = std::move(call), inputs, masks, adds](std::span<const Tensor> dys, Sink& sink) {
                  const size_t count = dys.size();
                  std::vector<Tensor> dy;
                  std::vector<Sink::Target> dx, dresidual;
                  const auto target = [&](size_t input, const Tensor& d) {
                    return sink.wants(input) ? sink.into_or_reuse(input, d) : Sink::Target{};
                  };
                  for (size_t i = 0; i < count; ++i) {
                    dx.push_back(target(i, dys[i]));
                    dresidual.push_back(adds ? target(count + 4 + i, dys[i]) : Sink::Target{});
                    dy.push_back(dys[i].defined() ? dys[i].contiguous() : zeros_like(inputs[i]));
                  }
                  for (size_t i = 0; i < count && sink.wants(count + 3); ++i)
                    sink.give(count + 3, sum_to(dy[i], sink.shape(count + 3)));  // before dx, which may be where dy is
                  const Tensor affine = call.affine_gradients(sink, count);
                  if (call.plan.sets > 0) kernel::norm_backward(inputs, call, {masks, dy, dx, dresidual, affine});
                  call.give(affine, sink, count);
                  if (call.learns_alpha) sink.give(count + 2, call.alpha_gradient(affine));
                });
  return outputs;
}

}  // namespace norma
