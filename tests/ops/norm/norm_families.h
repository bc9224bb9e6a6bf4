// The whole normalization family as test cases: every grouping, source, activation and residual, on random tensors.
#pragma once

#include "tests/ops/norm/norm_reference.h"

namespace norma::test {

struct Family {
  std::string name;
  Grouping grouping;
  bool center = true;
  bool half = false;
  bool per_set = false;     // gamma and beta [sets, C]
  bool per_sample = false;  // [N, C]
  std::optional<Grouping> scale{};
};

inline Tensor random_ids(int64_t n, int64_t count) {
  Generator generator(11);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(i < count ? i : generator.below(count));
  return tensor(ids, {n});
}

inline int64_t divisor(int64_t channels) {
  for (int64_t g : {5, 4, 3, 2})
    if (channels % g == 0 && channels > g) return g;
  return 1;
}

inline std::vector<Family> families(int64_t n, int64_t channels) {
  const Channels some = Channels::groups(divisor(channels));
  const int64_t labelled = std::max<int64_t>(1, n / 3);
  return {{"batch", whole()},
          {"ghost2", chunks(2)},
          {"ghost5", chunks(5)},
          {"domains", labels(random_ids(n, labelled), labelled)},
          {"domains, own affine", labels(random_ids(n, labelled), labelled), true, false, true},
          {"group", groups(some.count)},
          {"layer", layer()},
          {"features", features()},
          {"instance", instance()},
          {"half instance", instance(), true, true},
          {"batch group", {Samples::whole(), Positions::all, some}},
          {"ghost group", {Samples::chunks(3), Positions::all, some}},
          {"batch, position by position", {Samples::whole(), Positions::each, Channels::each()}},
          {"feature groups", {Samples::each(), Positions::each, some}},
          {"rms", features(), false},
          {"rms over the sample", layer(), false}};
}

// Those with a variance of more channels than the mean, a gamma and beta of each sample, or both.
inline std::vector<Family> wider_families(int64_t n, int64_t channels) {
  const Channels some = Channels::groups(divisor(channels));
  const int64_t labelled = std::max<int64_t>(1, n / 3);
  const Grouping domains = labels(random_ids(n, labelled), labelled), all = {.channels = Channels::all()},
                 apart = {Samples::whole(), Positions::each, Channels::each()};
  const auto family = [](const char* name, const Grouping& means, const std::optional<Grouping>& scale,
                         bool per_sample) { return Family{name, means, true, false, false, per_sample, scale}; };
  return {
      family("extended batch", whole(), all, false),
      family("batch, groups", whole(), Grouping{.channels = some}, false),
      family("ghost, all channels", chunks(2), Grouping{Samples::chunks(2), Positions::all, Channels::all()}, false),
      family("domains, groups", domains, Grouping{domains.samples, Positions::all, some}, false),
      family("instance, layer", instance(), layer(), false),
      family("group, layer", groups(some.count), layer(), false),
      family("feature groups, features", {Samples::each(), Positions::each, some}, features(), false),
      family("by position, groups", apart, Grouping{Samples::whole(), Positions::each, some}, false),
      family("batch, affine by sample", whole(), {}, true),
      family("ghost, affine by sample", chunks(3), {}, true),
      family("domains, affine by sample", domains, {}, true),
      family("instance, affine by sample", instance(), {}, true),
      family("group, affine by sample", groups(some.count), {}, true),
      family("layer, affine by sample", layer(), {}, true),
      family("features, affine by sample", features(), {}, true),
      family("feature groups, affine by sample", {Samples::each(), Positions::each, some}, {}, true),
      family("by position, affine by sample", apart, {}, true),
      family("extended batch, affine by sample", whole(), all, true),
      family("instance, layer, affine by sample", instance(), layer(), true),
      {"half instance, affine by sample", instance(), true, true, false, true},
      {"rms, affine by sample", features(), false, false, false, true},
      {"rms over the batch, affine by sample", whole(), false, false, false, true}};
}

// One call of the op with everything it takes, on random tensors.
struct Case {
  Shape shape;
  Family family;
  Statistics::Source source;
  Activation activation;
  bool residual;
  DType dtype;
  std::vector<Tensor> leaves;  // x, gamma, beta, (residual), (alpha)
  Statistics statistics{};
  NormOptions options{};

  bool feasible() const {
    if (source == Statistics::Source::given || source == Statistics::Source::mixed || !family.center) return true;
    int64_t sets = 0;
    const auto ids = reference_sets(family.grouping.samples, shape[0], sets);
    const int64_t channels = shape.back(), positions = shape.numel() / (shape[0] * channels);
    const int64_t count =
        family.half || family.grouping.channels.count == 0 ? channels : family.grouping.channels.count;
    for (int64_t set = 0; set < sets; ++set) {
      const int64_t samples = std::count(ids.begin(), ids.end(), set);
      if (samples * (family.grouping.positions == Positions::each ? 1 : positions) * (channels / count) == 1)
        return false;
    }
    return true;
  }

  void make(uint64_t seed) {
    Generator generator(seed);
    const int64_t channels = shape.back(), lead = family.half ? (channels + 1) / 2 : channels;
    const auto leaf = [&](const Shape& s, double mean) {
      Tensor x(s, dtype);
      generator.fill_normal(x, mean, 1);
      x = there(x);
      x.set_requires_grad();
      return x;
    };
    int64_t sets = 0;
    reference_sets(family.grouping.samples, shape[0], sets);
    const Shape affine = family.per_set ? Shape{sets, lead} : family.per_sample ? Shape{shape[0], lead} : Shape{lead};
    leaves = {leaf(shape, 0.5), leaf(affine, 1), leaf(affine, 0)};
    if (residual) leaves.push_back(leaf(shape, 0));
    options = {
        .eps = 1e-3, .activation = activation, .center = family.center, .normalized_channels = family.half ? lead : -1};
    const int64_t positions = shape.numel() / (shape[0] * channels);
    const int64_t entries =
        (family.grouping.positions == Positions::each && family.grouping.over_samples() ? positions : 1) *
        (family.grouping.channels.count == 0 ? channels : family.grouping.channels.count);
    Tensor mean({entries}, f64), var({entries}, f64);
    options.scale = family.scale;
    generator.fill_normal(mean, 0.4, 0.2);
    generator.fill_uniform(var, 0.5, 2);
    if (family.scale && source != Statistics::Source::mixed) var.fill(1.3);  // as what shares a variance has it
    if (family.half && source != Statistics::Source::batch) {
      mean = view::slice(mean, 0, 0, lead).clone();
      var = view::slice(var, 0, 0, lead).clone();
    }
    statistics = {source, there(mean), there(var), 1.2, 0.3};
    if (source != Statistics::Source::mixed) return;
    statistics.alpha = empty(mean.shape(), dtype);
    generator.fill_uniform(statistics.alpha, 0.2, 0.8);
    statistics.alpha = there(statistics.alpha);
    statistics.of_mixture = !family.scale && seed / 4 % 2 == 1;
    if (seed / 2 % 2 == 0 || family.half ||
        (family.grouping.positions == Positions::each && family.grouping.over_samples()))
      return;
    leaves.push_back(statistics.alpha.set_requires_grad());
  }
  // The statistics, with alpha from the leaves where it is one.
  Statistics with_alpha(const std::vector<Tensor>& in) const {
    Statistics all = statistics;
    if (in.size() > (residual ? 4 : 3)) all.alpha = in.back();
    return all;
  }

  NormOptions with_residual(const std::vector<Tensor>& in) const {
    NormOptions all = options;
    if (residual) all.residual = {in[3]};
    return all;
  }
  Tensor fused(const std::vector<Tensor>& in) const {
    return norm(in[0], family.grouping, with_alpha(in), in[1], in[2], with_residual(in));
  }
  Tensor composed(const std::vector<Tensor>& in) const {  // on the CPU
    Statistics host = with_alpha(in);
    host.mean = host.mean.to(cpu_device);
    host.var = host.var.to(cpu_device);
    if (host.alpha.defined() && !host.alpha.device().is_cpu()) host.alpha = host.alpha.to(cpu_device);
    return reference_norm({in[0]}, family.grouping, host, in[1], in[2], with_residual(in))[0];
  }
  std::string str() const {
    return fmt::format("{} {} source {} activation {} residual {} {}", family.name, shape, static_cast<int>(source),
                       static_cast<int>(activation.kind), residual, dtype);
  }
};

// Every combination of family, source, activation and residual, on `per_combination` of the shapes in turn.
template <class F>
int for_each_combination(const std::vector<Shape>& shapes, size_t per_combination, DType dtype, F f) {
  int cases = 0;
  size_t turn = 0;
  const size_t count = families(2, 2).size();
  for (size_t family = 0; family < count; ++family) {
    for (auto source : {Statistics::Source::batch, Statistics::Source::given, Statistics::Source::renorm}) {
      for (const Activation& activation : {Activation::none(), Activation::relu(), Activation::leaky_relu(0.2)}) {
        for (bool residual : {false, true}) {
          for (size_t k = 0, done = 0; k < shapes.size() && done < per_combination; ++k) {
            const Shape& shape = shapes[turn++ % shapes.size()];
            const Family chosen = families(shape[0], shape.back())[family];
            if (!chosen.center && source == Statistics::Source::renorm) continue;  // renorm corrects a mean
            Case c{shape, chosen, source, activation, residual, dtype, {}};
            if (!c.feasible()) continue;
            SCOPED_TRACE(c.str());
            c.make(turn);
            f(c);
            ++done;
            ++cases;
          }
        }
      }
    }
  }
  return cases;
}

}  // namespace norma::test
