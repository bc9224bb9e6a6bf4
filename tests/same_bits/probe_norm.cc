// The probe's cases of the normalization family: every grouping, source of statistics, activation, with and without
// residual and affine part, alone and fused with a convolution or a pooling.
#include "probe.h"

namespace probe {
namespace {

// Three workers with the same samples each. The Communicators of earlier commits have other virtual functions: here are
// those of all, of which only some override anything.
struct Echo : Communicator {
  int rank() const override { return 1; }
  int size() const override { return 3; }
  Communicator& split(int64_t) { return *this; }
  Tensor all_gather(const Tensor& x) { return stack({x, x, x}); }
  void all_reduce(const Tensor& x) { x.copy_from(x + x + x); }
  void broadcast(const Tensor&, int) {}
  // As they were called before, of contiguous tensors on the CPU; and before that, of numbers.
  void gather(const Tensor& x, const Tensor& all) { all.copy_from(view::expand(x, all.shape())); }
  void reduce(const Tensor& x) { x.copy_from(x + x + x); }
  void spread(const Tensor&, int) {}
  void all_gather(std::span<const double> own, std::span<double> all) {
    for (size_t i = 0; i < all.size(); ++i) all[i] = own[i % own.size()];
  }
} echo;

struct NamedGrouping {
  std::string name;
  Grouping grouping;
  int64_t groups;  // that a population has an entry for
  int64_t sets;    // of samples, for affine parts of their own; 0: none
};

std::vector<NamedGrouping> groupings(const Shape& shape) {
  const int64_t n = shape[0], channels = shape.back();
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(i * 7 % 3);
  int64_t positions = 1;
  for (int i = 1; i + 1 < shape.rank(); ++i) positions *= shape[i];
  std::vector<NamedGrouping> list = {
      {"whole", whole(), channels, 0},
      {"chunks(2)", chunks(2), channels, 0},
      {"chunks(3)", chunks(3), channels, 0},
      {"labels", labels(tensor(ids, {n}), 3), channels, 3},
      {"across", across(echo), channels, 0},
      {"instance", instance(), channels, 0},
      {"layer", layer(), 1, 0},
      {"features", features(), 1, 0},
      {"whole, all channels", {Samples::whole(), Positions::all, Channels::all()}, 1, 0},
      {"whole, each position", {Samples::whole(), Positions::each, Channels::each()}, positions * channels, 0},
      {"chunks(4), each position, all channels", {Samples::chunks(4), Positions::each, Channels::all()}, positions, 0},
  };
  for (int64_t count : {2, 3, 8}) {
    if (channels % count != 0) continue;
    list.push_back({fmt::format("groups({})", count), groups(count), count, 0});
    list.push_back({fmt::format("whole, groups({})", count),
                    {Samples::whole(), Positions::all, Channels::groups(count)},
                    count,
                    0});
    list.push_back({fmt::format("each position, groups({})", count),
                    {Samples::each(), Positions::each, Channels::groups(count)},
                    count,
                    0});
  }
  return list;
}

const std::pair<const char*, Activation> kActivations[] = {
    {"", {}}, {" relu", Activation::relu()}, {" leaky", Activation::leaky_relu(0.2)}};

enum class Source { batch, rms, given, renorm };
const std::pair<const char*, Source> kSources[] = {
    {"batch", Source::batch}, {"rms", Source::rms}, {"given", Source::given}, {"renorm", Source::renorm}};

Statistics statistics(Source source, int64_t groups) {
  if (source == Source::batch || source == Source::rms) return Statistics::batch();
  const Tensor mean = random({groups}, 71, f64).to(device), var = (positive({groups}, 72).to(f64) + 0.5).to(device);
  return source == Source::given ? Statistics::given(mean, var) : Statistics::renorm(mean, var, 1.1, 0.3);
}

enum class Affine { none, shared, sets };
constexpr const char* kAffine[] = {"", " affine", " affine by set"};

void norm_cases(const Shape& shape, Source source, const char* source_name, const Which& which, bool all) {
  for (const auto& [name, grouping, count, sets] : groupings(shape))
    for (const auto& [activation_name, activation] : kActivations)
      for (bool residual : {false, true})
        for (Affine affine : {Affine::none, Affine::shared, Affine::sets}) {
          if (affine == Affine::sets && sets == 0) continue;
          if (!all && (affine != Affine::shared || activation.kind != Activation::Kind::relu)) continue;
          if (!sampled()) continue;
          const Shape affine_shape = affine == Affine::sets ? Shape{sets, shape.back()} : Shape{shape.back()};
          Inputs inputs = {random(shape, 73) * 2 + 0.7};
          if (affine != Affine::none) {
            inputs.push_back(random(affine_shape, 74) + 1);
            inputs.push_back(random(affine_shape, 75));
          }
          if (residual) inputs.push_back(random(shape, 76));
          Moments seen;
          const std::string title = fmt::format("norm {} {} {}{}{}{}", shape, name, source_name, activation_name,
                                                residual ? " residual" : "", kAffine[static_cast<int>(affine)]);
          sweep(
              title,
              [&, g = grouping, groups = count, f = activation](const Inputs& in) {
                NormOptions options;
                options.activation = f;
                options.center = source != Source::rms;
                options.moments = &seen;
                if (residual) options.residual = {in.back()};
                const bool has = affine != Affine::none;
                return norm(in[0], g, statistics(source, groups), has ? in[1] : Tensor(), has ? in[2] : Tensor(),
                            options);
              },
              inputs, which);
          if (!seen.defined()) continue;
          print(title + ", count", seen.count);
          print(title + ", mean", seen.mean);
          print(title + ", m2", seen.m2);
        }
}

void moments_cases(const Shape& shape) {
  const Tensor x = (random(shape, 77) * 3 + 5).to(device);
  for (const auto& entry : groupings(shape)) {
    const std::string title = fmt::format("moments {} {}", shape, entry.name);
    attempt(title, [&] {
      const Moments a = moments(x, entry.grouping), b = moments({x, x.to(f64).to(f32), x}, entry.grouping);
      const Moments both = merge(a, b), one = merge_sets(b);
      for (const Moments& m : {a, b, both, one}) {
        print(title + ", count", m.count);
        print(title + ", mean", m.mean);
        print(title + ", m2", m.m2);
        print(title + ", var", m.var());
      }
    });
  }
}

// Several tensors that share the statistics.
void levels() {
  for (const auto& entry : groupings({6, 12}))
    for (const auto& [source_name, source] : kSources) {
      if (!sampled()) continue;
      sweep(fmt::format("norm of three, {} {}", entry.name, source_name),
            [&, s = source](const Inputs& in) {
              NormOptions options;
              options.activation = Activation::relu();
              options.center = s != Source::rms;
              const std::vector<Tensor> ys =
                  norm({in[0], in[1], in[2]}, entry.grouping, statistics(s, entry.groups), in[3], in[4], options);
              return concat({reshape(ys[0], {-1}), reshape(ys[1], {-1}), reshape(ys[2], {-1})}, 0);
            },
            {random({6, 8, 7, 12}, 78), random({6, 4, 4, 12}, 79) + 1, random({6, 2, 1, 12}, 80) * 3,
             random({12}, 81) + 1, random({12}, 82)});
    }
}

}  // namespace

void norms() {
  for (const auto& [name, source] : kSources) {
    for (const Shape& shape : {Shape{6, 5, 7, 12}, Shape{5, 3, 3, 33}, Shape{16, 24}})
      norm_cases(shape, source, name, {true, true}, true);
    for (const Shape& shape :
         {Shape{8, 4, 4, 64}, Shape{12, 130}, Shape{4, 3, 2, 5, 8}, Shape{7, 1, 3, 1}, Shape{4, 6, 6, 2}})
      norm_cases(shape, source, name, {false, false}, true);
    if (emulated()) continue;
    for (const Shape& shape : {Shape{32, 32, 32, 16}, Shape{32, 8, 8, 64}, Shape{4, 28, 28, 80}, Shape{1024, 256}})
      norm_cases(shape, source, name, {false, false}, false);
  }
  for (const Shape& shape : {Shape{6, 5, 7, 12}, Shape{16, 24}}) moments_cases(shape);
  if (!emulated()) moments_cases({64, 30, 31, 24});
  levels();
}

void fused_norms() {
  struct Layer {
    Shape x;
    int64_t filters;
    Pair kernel;
    Conv2dOptions options;
  };
  const std::pair<const char*, ConvAlgorithm> algorithms[] = {{"automatic", ConvAlgorithm::automatic},
                                                              {"im2col", ConvAlgorithm::im2col},
                                                              {"direct", ConvAlgorithm::direct},
                                                              {"winograd", ConvAlgorithm::winograd},
                                                              {"winograd2", ConvAlgorithm::winograd2}};
  const Layer layers[] = {{{2, 8, 8, 16}, 16, 3, {.padding = 1}},
                          {{2, 7, 9, 5}, 18, 3, {.padding = 1}},
                          {{2, 10, 8, 12}, 12, 3, {.padding = 1, .groups = 12}},
                          {{2, 8, 8, 16}, 33, 1, {.stride = 2}},
                          {{8, 28, 28, 32}, 64, 3, {.padding = 1}}};
  for (const Layer& l : layers)
    for (const auto& [algorithm_name, algorithm] : algorithms)
      for (const auto& [source_name, source] : kSources)
        for (const auto& [activation_name, activation] : kActivations)
          for (int variant = 0; variant < 4; ++variant) {  // plain, residual, pooled, recorded
            if (!sampled()) continue;
            Conv2dOptions options = l.options;
            options.algorithm = algorithm;
            Inputs inputs = {random(l.x, 83),
                             random({l.filters, l.kernel.h, l.kernel.w, l.x.back() / options.groups}, 84),
                             random({l.filters}, 85), random({l.filters}, 86) + 1, random({l.filters}, 87)};
            if (variant == 1)
              inputs.push_back(random({l.x[0], l.x[1] / options.stride.h, l.x[2] / options.stride.w, l.filters}, 88));
            const char* variants[] = {"", " residual", " pooled", " recorded"};
            sweep(fmt::format("conv2d_norm {} {} {} {}{}{}", l.x, l.filters, algorithm_name, source_name,
                              activation_name, variants[variant]),
                  [&, s = source, f = activation](const Inputs& in) {
                    std::optional<NoGrad> unrecorded;
                    if (variant < 3) unrecorded.emplace();
                    NormOptions after;
                    after.activation = f;
                    after.center = s != Source::rms;
                    if (variant == 1) after.residual = {in[5]};
                    return conv2d_norm(in[0], in[1], in[2], options, whole(), statistics(s, l.filters), in[3], in[4],
                                       after, variant == 2 ? std::optional<Pair>(2) : std::nullopt);
                  },
                  inputs, {l.x[0] < 8, false});
          }

  const Pool2dOptions pools[] = {{.kernel = 2}, {.kernel = {3, 2}}, {.kernel = 3, .stride = 2, .padding = 1}};
  for (const Shape& shape : {Shape{6, 8, 10, 32}, Shape{4, 7, 9, 16}, Shape{3, 6, 6, 5}, Shape{16, 28, 28, 32}})
    for (const auto& entry : groupings(shape))
      for (const auto& [source_name, source] : kSources)
        for (const auto& [activation_name, activation] : kActivations)
          for (const Pool2dOptions& pool : pools) {
            if (!sampled() || (shape[0] == 16 && activation.kind != Activation::Kind::relu)) continue;
            sweep(fmt::format("norm_max_pool {} {} {}{} by {}x{}", shape, entry.name, source_name, activation_name,
                              pool.kernel.h, pool.kernel.w),
                  [&, s = source, f = activation](const Inputs& in) {
                    NormOptions options;
                    options.activation = f;
                    options.center = s != Source::rms;
                    return norm_max_pool(in[0], entry.grouping, statistics(s, entry.groups), in[1], in[2], pool,
                                         options);
                  },
                  {random(shape, 89), random({shape.back()}, 90) + 1, random({shape.back()}, 91)},
                  {shape[0] == 4, false});
          }
}

}  // namespace probe
