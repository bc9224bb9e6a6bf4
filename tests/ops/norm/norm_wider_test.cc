// Norms whose variance is of more channels than their mean, whose statistics are mixed with a population's, or whose
// gamma and beta are each sample's own: against the composed reference, the formulae as arrays
// (tests/golden/make_wider_norm.py) and finite differences.
#include "norma/ops/norm/norm_max_pool.h"
#include "tests/ops/norm/norm_families.h"

namespace norma {
namespace {

using namespace norma::test;
using Source = Statistics::Source;

// Cases of every wider family and source, and of the others with mixed statistics: all activations in turn, with and
// without a residual.
template <class F>
int for_each_wider(const std::vector<Shape>& shapes, DType dtype, F f) {
  int cases = 0;
  size_t turn = 0;
  const auto try_one = [&](const auto& all, size_t family, Source source) {
    for (size_t k = 0; k < shapes.size(); ++k) {
      const Shape& shape = shapes[turn++ % shapes.size()];
      const Family chosen = all(shape[0], shape.back())[family];
      if (!chosen.center && source == Source::renorm) return;  // renorm corrects a mean
      const Activation activations[] = {Activation::none(), Activation::relu(), Activation::leaky_relu(0.2)};
      Case c{shape, chosen, source, activations[turn % 3], turn % 2 == 0, dtype, {}};
      if (!c.feasible()) continue;
      SCOPED_TRACE(c.str());
      c.make(turn);
      f(c);
      ++cases;
      return;
    }
  };
  for (int times = 0; times < 2; ++times) {
    for (size_t family = 0; family < wider_families(2, 2).size(); ++family)
      for (Source source : {Source::batch, Source::given, Source::renorm, Source::mixed})
        try_one(wider_families, family, source);
    for (size_t family = 0; family < families(2, 2).size(); ++family) try_one(families, family, Source::mixed);
  }
  return cases;
}

const std::vector<Shape> kShapes = {{2, 3, 4},      {7, 5},        {2, 3, 3, 4},   {33, 2, 1, 6},
                                    {1, 3, 3, 15},  {6, 2, 2, 65}, {33, 7, 7, 16}, {7, 1, 1, 3},
                                    {2, 32, 32, 3}, {70, 3, 3, 8}, {20, 9, 16},    {3, 16, 16, 30}};

void compare(const Case& c, double tolerance) {
  std::vector<Tensor> exact;
  for (const Tensor& leaf : c.leaves) exact.push_back(leaf.to(cpu_device).to(f64).clone().set_requires_grad());
  Generator generator(5);
  Tensor upstream;
  const auto sweep = [&](bool fused, const std::vector<Tensor>& leaves) {
    Tape tape;
    const Tensor y = fused ? c.fused(leaves) : c.composed(leaves);
    if (!upstream.defined()) upstream = randn(y.shape(), generator, f32);
    tape.backward(y, {.seed = upstream.to(y.dtype()).to(y.device())});
    return y.detach();
  };
  const Tensor y = sweep(true, c.leaves), want = sweep(false, exact);
  EXPECT_TRUE(close(y.to(f64), want, tolerance)) << "forward";
  for (size_t i = 0; i < exact.size(); ++i) {
    const Tensor wanted = exact[i].grad().defined() ? exact[i].grad() : zeros_like(exact[i]);
    EXPECT_TRUE(close(c.leaves[i].grad().to(f64), wanted, 10 * tolerance)) << "gradient " << i;
  }
}

TEST(NormWider, AgreesWithTheComposedReferenceInF64) {
  EXPECT_GT(for_each_wider(kShapes, f64, [](const Case& c) { compare(c, 1e-12); }), 150);
}

TEST(NormWider, AgreesWithTheComposedReferenceInF32) {
  for_each_wider(kShapes, f32, [](const Case& c) { compare(c, 2e-6); });
}

void check_against_arrays(
    const std::string& op,
    const std::function<Tensor(const GoldenCase&, const Tensor& x, const Tensor& gamma, const Tensor& beta)>& f) {
  for_each_case("wider_norm", op, [&](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), gamma = c.leaf("gamma"), beta = c.leaf("beta");
    check_case(
        c, [&] { return f(c, x, gamma, beta); }, {{"x", x}, {"gamma", gamma}, {"beta", beta}},
        c.dtype == f32 ? 5e-6 : 1e-12);
  });
}

TEST(NormWider, AgreesWithTheFormulaeWrittenOut) {
  for (const Grouping& means : {whole(), instance()})
    check_against_arrays(means.over_samples() ? "extended_batch_norm" : "centered_by_channel",
                         [&](const GoldenCase& c, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
                           Grouping scale = means;
                           scale.channels = Channels::groups(c.attrs["groups"]);
                           return norm(x, means, {}, gamma, beta, {.eps = c.attrs["eps"], .scale = scale});
                         });
  const std::map<std::string, Grouping> by = {
      {"batch", whole()}, {"instance", instance()}, {"sample", layer()}, {"features", features()}};
  check_against_arrays("own_affine",
                       [&](const GoldenCase& c, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
                         return norm(x, by.at(c.attrs["over"]), {}, gamma, beta, {.eps = c.attrs["eps"]});
                       });
  for_each_case("wider_norm", "mixed", [&](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), gamma = c.leaf("gamma"), beta = c.leaf("beta");
    const Statistics statistics = Statistics::mixed(c["mean"], c["var"], c["alpha"]);
    check_case(
        c, [&] { return norm(x, by.at(c.attrs["over"]), statistics, gamma, beta); },
        {{"x", x}, {"gamma", gamma}, {"beta", beta}}, c.dtype == f32 ? 1e-5 : 1e-12);
  });
}

TEST(NormWider, PassesGradcheck) {
  const std::vector<Shape> shapes = {{2, 3, 4}, {7, 5}, {3, 2, 2, 4}, {5, 2, 1, 6}, {2, 3, 3, 15}};
  const int cases = for_each_wider(shapes, f64, [](Case& c) {
    c.activation = c.options.activation = {};                                        // their kinks are in norm_test.cc
    if (c.source == Source::renorm) c.statistics.r_max = 1, c.statistics.d_max = 0;  // constants of the gradient
    const auto result =
        gradcheck([&](const auto& in) { return c.fused(in); }, c.leaves, {.max_elements = 64, .directions = 4});
    EXPECT_TRUE(result) << result.message;
  });
  EXPECT_GT(cases, 150);
}

// y and all gradients of the op on the leaves x, gamma, beta.
std::vector<Tensor> sweep(const std::vector<Tensor>& leaves, const Grouping& grouping, const Statistics& statistics,
                          const NormOptions& options) {
  std::vector<Tensor> own;
  for (const Tensor& leaf : leaves) own.push_back(leaf.detach().set_requires_grad());
  Tape tape;
  const Tensor y = norm(own[0], grouping, statistics, own[1], own[2], options);
  tape.backward(y, {.seed = there(random(y.shape(), 9)).to(y.dtype())});
  return {y.detach(), own[0].grad(), own[1].grad(), own[2].grad()};
}

TEST(NormWider, MixedIsBatchOrGivenAtItsEndsToTheBit) {
  for (DType dtype : {f32, f64}) {
    for (const Grouping& grouping : {whole(), chunks(3), instance(), groups(2), layer(), Grouping{.channels = {3}},
                                     labels(random_ids(20, 3), 3), Grouping{{}, Positions::each, {}}}) {
      SCOPED_TRACE(grouping.str());
      const int64_t count = (grouping.channels.count == 0 ? 6 : grouping.channels.count) *
                            (grouping.positions == Positions::each ? 25 : 1);
      const std::vector<Tensor> leaves = {there(random({20, 5, 5, 6}, 1) * 2 + 1).to(dtype),
                                          there(random({6}, 2)).to(dtype), there(random({6}, 3)).to(dtype)};
      const Tensor mean = there(random({count}, 4)), var = there(random({count}, 5) * random({count}, 5) + 0.5);
      const NormOptions options{.activation = Activation::relu()};
      const auto batch = sweep(leaves, grouping, Statistics::batch(), options),
                 given = sweep(leaves, grouping, Statistics::given(mean, var), options);
      const auto own = sweep(leaves, grouping, Statistics::mixed(mean, var, 1.), options),
                 other = sweep(leaves, grouping, Statistics::mixed(mean, var, 0.), options);
      for (size_t i = 0; i < batch.size(); ++i) {
        EXPECT_TRUE(same_bits(own[i], batch[i])) << "alpha 1: " << i;
        EXPECT_TRUE(same_bits(other[i], given[i])) << "alpha 0: " << i;
      }
    }
  }
}

// Where alpha is learned, gamma and what is behind it are a second norm's; and a batch without samples has a gradient
// of 0.
TEST(NormWider, ALearnedAlphaLeavesTheRestAsItIs) {
  const Tensor mean = there(random({6}, 4)), var = there(square(random({6}, 5)) + 0.5);
  for (const Grouping& grouping : {whole(), chunks(3), instance(), labels(random_ids(20, 3), 3)})
    for (const bool of_mixture : {false, true})
      for (const Tensor& gamma : {there(random({6}, 2)), there(random({20, 6}, 2)), Tensor()}) {
        SCOPED_TRACE(grouping.str());
        std::vector<Tensor> got[2];
        for (const bool learned : {false, true}) {
          Tensor x = there(random({20, 5, 5, 6}, 1)).set_requires_grad(), alpha = there(random({6}, 7)).detach();
          Tensor own = gamma.defined() ? gamma.clone().set_requires_grad() : Tensor();
          if (learned) alpha.set_requires_grad();
          Tape tape;
          const Tensor y = norm(x, grouping, Statistics::mixed(mean, var, alpha, of_mixture), own, {});
          tape.backward(y, {.seed = there(random(y.shape(), 9))});
          got[learned] = {y.detach(), x.grad()};
          if (own.defined()) got[learned].push_back(own.grad());
          EXPECT_EQ(alpha.grad().defined(), learned);
        }
        for (size_t i = 0; i < got[0].size(); ++i) EXPECT_TRUE(close(got[0][i], got[1][i], 1e-12)) << i;
      }
  Tensor alpha = there(full({6}, 0.5, f64)).set_requires_grad();
  Tape tape;
  const Tensor none = norm(there(zeros({0, 6}, f64)), chunks(2), Statistics::mixed(mean, var, alpha), {}, {});
  tape.backward(sum(none));
  EXPECT_TRUE(same_bits(alpha.grad(), there(zeros({6}, f64))));
}

TEST(NormWider, BitsDoNotDependOnTheThreadCount) {
  const int before = num_threads();
  for_each_wider({{33, 9, 9, 30}, {70, 4, 16}}, f32, [](const Case& c) {
    const auto run = [&](int threads) {
      set_num_threads(threads);
      for (const Tensor& leaf : c.leaves) leaf.set_grad({});
      Tape tape;
      std::vector<Tensor> result = {c.fused(c.leaves)};
      tape.backward(result[0], {.seed = result[0].detach()});
      for (const Tensor& leaf : c.leaves)
        if (leaf.grad().defined()) result.push_back(leaf.grad());
      return result;
    };
    const auto one = run(1), three = run(3);
    for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], three[i])) << i;
  });
  set_num_threads(before);
}

TEST(NormWider, HandsOverTheMomentsOfTheCells) {
  const Tensor x = there(random({6, 3, 3, 8}) * 2 + 5), mean = there(zeros({8}, f64)), var = there(ones({8}, f64));
  const Moments want = moments(x, chunks(3));
  Moments mixed, pooled;
  norm(x, chunks(3), Statistics::mixed(mean, var, 0.3), {}, {}, {.moments = &mixed});
  EXPECT_TRUE(close(mixed.mean, want.mean, 1e-14));
  EXPECT_TRUE(close(mixed.m2, want.m2, 1e-13));
  norm(x, chunks(3), {}, {}, {},
       {.moments = &pooled, .scale = Grouping{Samples::chunks(3), Positions::all, Channels::groups(2)}});
  EXPECT_TRUE(close(pooled.mean, want.mean, 1e-14));
  const Tensor groups = reshape(want.m2, {2, 2, 4});
  EXPECT_TRUE(close(pooled.m2, reshape(expand(norma::mean(groups, {2}, true), groups.shape()), {2, 8}), 1e-13));
}

TEST(NormWider, AMaxPoolMayStandBehind) {
  const Tensor x = there(random({6, 4, 4, 16}));
  for (const Tensor& affine : {there(random({6, 16}, 2)), there(random({16}, 2))}) {
    for (const Grouping& grouping : {whole(), instance()}) {
      Grouping scale = grouping;
      scale.channels = Channels::groups(4);
      for (bool beta : {false, true}) {
        const Tensor none, &gamma = beta ? none : affine, &shift = beta ? affine : none;
        const Pool2dOptions pool{.kernel = 2};
        const Tensor y = norm_max_pool(x, grouping, {}, gamma, shift, pool, {.scale = scale});
        EXPECT_TRUE(same_bits(y, max_pool2d(norm(x, grouping, {}, gamma, shift, {.scale = scale}), pool)));
      }
    }
  }
}

// A gamma of each sample without a beta, and the other way round: what is missing is 1 or 0 for all samples.
// A population makes a variance of one element's cell, which says nothing by itself, into one that does.
TEST(NormWider, ASingleElementMayBeMixed) {
  const Tensor x = there(tensor({{2., 4.}})), mean = there(tensor({1., 1.})), var = there(tensor({4., 9.}));
  expect_error([&] { norm(x, whole(), Statistics::renorm(mean, var), {}, {}); }, "a single element");
  const Tensor y = norm(x, whole(), Statistics::mixed(mean, var, 0.5), {}, {}, {.eps = 0});
  EXPECT_TRUE(close(y.to(cpu_device), tensor({{0.5 / std::sqrt(2.), 1.5 / std::sqrt(4.5)}}), 1e-14));
}

// Nothing to mix, and alpha of each cell.
TEST(NormWider, AlphaOfEachCellAndOfNone) {
  const Tensor mean = there(random({2, 6}, 4)), var = there(random({2, 6}, 5) * random({2, 6}, 5) + 0.5);
  const Tensor alpha = there(tensor({0., 0., 0., 0., 0., 0., 1., 1., 1., 1., 1., 1.})), x = there(random({4, 3, 6}));
  const Grouping by = labels(tensor<int64_t>({1, 0, 1, 1}, {4}), 2);
  const Tensor y = norm(x, by, Statistics::mixed(mean, var, reshape(alpha, {2, 6})), {}, {});
  EXPECT_TRUE(close(y[1], norm(x, by, Statistics::given(mean, var), {}, {})[1]));
  EXPECT_TRUE(close(y[2], norm(x, by, {}, {}, {})[2]));
  EXPECT_EQ(norm(x, chunks(2), Statistics::mixed(mean[0], var[0], 0.5), {}, {}).shape(), x.shape());
  EXPECT_EQ(norm(x.slice(0, 0, 0), chunks(2), Statistics::mixed(mean[0], var[0], 0.5), {}, {}).numel(), 0);
}

// Where a variance is shared, a cell whose own mean does not count has a part in it all the same.
TEST(NormWider, AlphaOfNothingAndOfAllBesideOthers) {
  const Tensor x = there(random({3, 2, 2, 4})), gamma = there(random({4}, 2)), mean = there(random({4}, 3)),
               var = there(random({4}, 4) * random({4}, 4) + 0.5);
  for (const Tensor& alpha : {tensor({0., 0.6, 0.2, 0.9}), tensor({1., 0.6, 0., 0.}), tensor({0., 0., 0., 0.})}) {
    for (const std::optional<Grouping>& scale :
         {std::optional(Grouping{.channels = Channels::all()}), std::optional<Grouping>()}) {
      const Statistics statistics = Statistics::mixed(mean, var, there(alpha));
      const auto result = gradcheck(
          [&](const auto& in) { return norm(in[0], whole(), statistics, in[1], {}, {.scale = scale}); }, {x, gamma});
      EXPECT_TRUE(result) << result.message;
      Moments own;
      norm(x, whole(), statistics, {}, {}, {.moments = &own});
      EXPECT_TRUE(same_bits(own.mean, moments(x, whole()).mean));
    }
  }
}

TEST(NormWider, GammaOrBetaAlone) {
  for (const Shape& shape : {Shape{16, 3, 8}, Shape{300, 64}, Shape{5, 2, 2, 30}})
    for (const Grouping& grouping : {whole(), instance(), groups(2), layer(), features(), chunks(3)}) {
      if (shape.rank() == 2 && !grouping.over_samples() && grouping.channels.count == 0)
        continue;  // one element a cell
      SCOPED_TRACE(fmt::format("{} {}", grouping.str(), shape));
      const Tensor x = there(random(shape)), own = there(random({shape[0], shape.back()}, 2));
      const Tensor one = ones_like(own), zero = zeros_like(own);
      const auto alone = [&](bool beta) {
        Tensor leaf = own.detach().set_requires_grad(), in = x.detach().set_requires_grad();
        Tape tape;
        const Tensor y = beta ? norm(in, grouping, {}, {}, leaf) : norm(in, grouping, {}, leaf, {});
        tape.backward(y, {.seed = there(random(y.shape(), 9))});
        return std::vector{y.detach(), in.grad(), leaf.grad()};
      };
      const auto gamma = alone(false), beta = alone(true), of_gamma = sweep({x, own, zero}, grouping, {}, {}),
                 of_beta = sweep({x, one, own}, grouping, {}, {});
      for (size_t i : {0, 1}) EXPECT_TRUE(close(gamma[i], of_gamma[i], 1e-13)) << i;
      for (size_t i : {0, 1}) EXPECT_TRUE(close(beta[i], of_beta[i], 1e-13)) << i;
      EXPECT_TRUE(close(gamma[2], of_gamma[2], 1e-12));
      EXPECT_TRUE(close(beta[2], of_beta[3], 1e-12));
    }
}

TEST(NormWider, NoPositionsAreNoError) {
  for (const Samples& samples : {Samples::whole(), Samples::chunks(2), Samples::each()})
    for (const Positions positions : {Positions::all, Positions::each}) {
      const Tensor x = there(zeros({3, 0, 4}, f64)), own = there(ones({3, 4}, f64));
      EXPECT_EQ(norm(x, {samples, positions, {}}, {}, {}, {}).shape(), x.shape());
      EXPECT_EQ(norm(x, {samples, positions, {}}, {}, own, {}).shape(), x.shape());
    }
}

// What is far beyond float's squares, next to the same in double.
TEST(NormWider, DeviationsThatAreTooLargeForFloat) {
  const Grouping all = {.channels = Channels::all()};
  const Tensor mean = there(full({4}, 1e28, f64)), var = there(full({4}, 4e60, f64));
  for (double size : {1e30, 1e-30, 3e37}) {
    const Tensor x = there(random({8, 3, 3, 4}) * size).to(f32), gamma = there(random({8, 4}, 2)).to(f32);
    for (const auto& [statistics, scale] :
         {std::pair(Statistics::batch(), std::optional(all)), {Statistics::mixed(mean, var, 0.25), std::nullopt}}) {
      const NormOptions options{.eps = 0, .scale = scale};
      const auto got = sweep({x, gamma, gamma}, whole(), statistics, options),
                 want = sweep({x.to(f64), gamma.to(f64), gamma.to(f64)}, whole(), statistics, options);
      for (size_t i = 0; i < got.size(); ++i)
        EXPECT_TRUE(close(got[i].to(f64), want[i], i == 1 ? 1e-4 : 2e-6)) << size << ": " << i;
    }
  }
}

// A bad gamma is its sample's alone; a bad x is its cell's.
TEST(NormWider, BadElementsStayWhereTheyAre) {
  const double bad = std::numeric_limits<double>::quiet_NaN();
  for (const Grouping& grouping : {whole(), chunks(2), instance(), layer(), features()}) {
    SCOPED_TRACE(grouping.str());
    Tensor gamma = random({6, 4}, 2).to(cpu_device).clone();
    gamma.mutable_data<double>()[2 * 4 + 1] = bad;
    const std::vector<Tensor> leaves = {there(random({6, 3, 4})), there(gamma), there(random({6, 4}, 3))};
    std::vector<Tensor> got = sweep(leaves, grouping, {}, {});
    for (Tensor& t : got) t = t.to(cpu_device);
    for (size_t i : {0, 2, 3})
      for (int64_t n : {0, 1, 3, 4, 5})
        EXPECT_TRUE(std::isfinite(sum(got[i][n]).item())) << "of sample " << n << ": " << i;
    EXPECT_TRUE(std::isnan(sum(got[0][2]).item()));
  }
  // Statistics that do not count may be anything.
  const std::vector<Tensor> leaves = {there(random({6, 3, 4})), there(random({4}, 2)), there(random({4}, 3))};
  const Tensor mean = there(random({4}, 4)), var = there(ones({4}, f64));
  Tensor x = leaves[0].to(cpu_device).clone();
  x.mutable_data<double>()[5] = bad;
  const auto got = sweep({there(x), leaves[1], leaves[2]}, whole(), Statistics::mixed(mean, var, 0.), {});
  EXPECT_FALSE(std::isnan(sum(got[1]).to(cpu_device).item()));
}

TEST(NormWider, AcrossWorkersEqualsTheWholeBatch) {
  const std::vector<int64_t> bounds = {0, 5, 5, 12, 13};
  const Tensor x = random({13, 3, 2, 6}) * 3 + 20, upstream = random(x.shape(), 2), mean = random({6}, 3),
               var = random({6}, 4) * random({6}, 4) + 1;
  for (const auto& [mixes, by_sample] : {std::pair(false, false), {false, true}, {true, false}, {true, true}}) {
    const Tensor gammas = random({13, 6}, 3);
    const auto run = [&, mixes = mixes, by_sample = by_sample](const Grouping& grouping, int64_t begin, int64_t end) {
      Tensor part = view::slice(x, 0, begin, end).clone().set_requires_grad();
      const Tensor gamma = by_sample ? view::slice(gammas, 0, begin, end) : Tensor();
      Grouping scale = grouping;
      scale.channels = Channels::groups(2);
      Tape tape;
      const Statistics statistics = mixes ? Statistics::mixed(mean, var, 0.3) : Statistics::batch();
      const Tensor y = norm(part, grouping, statistics, gamma, {}, {.scale = scale});
      tape.backward(y, {.seed = view::slice(upstream, 0, begin, end).clone()});
      return std::vector{y.detach(), part.grad()};
    };
    std::vector<std::vector<Tensor>> got(4);
    run_workers({.count = 4}, [&](Communicator& me) {
      const auto i = static_cast<size_t>(me.rank());
      got[i] = run(across(me), bounds[i], bounds[i + 1]);
    });
    const auto want = run(whole(), 0, 13);
    for (size_t k : {0, 1})
      EXPECT_TRUE(close(concat({got[0][k], got[1][k], got[2][k], got[3][k]}, 0), want[k], 1e-11))
          << mixes << by_sample << k;
  }
}

TEST(NormWider, RejectsBadInput) {
  const Tensor x = random({4, 2, 2, 6}), mean = zeros({6}, f64), var = ones({6}, f64);
  const auto scaled = [&](const Grouping& grouping, const Grouping& scale, NormOptions options = {}) {
    options.scale = scale;
    norm(x, grouping, {}, {}, {}, options);
  };
  expect_error([&] { scaled(whole(), instance()); },
               "[norm] a mean over whole x all x each and a variance over each x all x each");
  expect_error([&] { scaled(groups(2), groups(3)); }, "a variance over each x all x groups(3)");
  expect_error([&] { scaled(layer(), instance()); }, "a variance over each x all x each");
  expect_error([&] { scaled(chunks(2), chunks(3)); }, "a variance over chunks(3)");
  expect_error([&] { scaled(whole(), {.channels = {-3}}); }, "a variance over whole x all x groups(-3)");
  expect_error([&] { scaled(whole(), {.channels = {4}}); }, "a variance over whole x all x groups(4)");
  expect_error([&] { scaled(instance(), layer(), {.center = false}); }, "wants centering");
  expect_error([&] { scaled(instance(), layer(), {.normalized_channels = 3}); }, "all channels");
  const Tensor half = full({6}, 0.5, f64);
  expect_error([&] { norm(x, whole(), {Source::mixed, mean, var}, {}, {}); }, "want alpha");
  expect_error([&] { norm(x, whole(), {Source::given, mean, var, 0, 0, half}, {}, {}); }, "want alpha");
  expect_error([&] { norm(x, whole(), {.alpha = half}, {}, {}); }, "want alpha");
  expect_error([&] { norm(x, whole(), Statistics::mixed({}, var, half), {}, {}); }, "want a mean and a variance");
  for (const Tensor& bad : {random({5}), scalar(1, f64), half.to(i64), random({0})})
    expect_error([&] { norm(x, whole(), Statistics::mixed(mean, var, bad), {}, {}); }, "want [6], floating");
  Tensor learned = half.clone();
  learned.set_requires_grad();
  const Tape tape;
  const Grouping apart = {{}, Positions::each, {}};
  const Tensor m = zeros({12}), v = ones({12}), many = concat({learned, half}, 0);
  expect_error(
      [&] {
        norm(random({4, 2, 6}), apart, Statistics::mixed(m, v, many), {}, {});
      },
      "[norm] alpha is learned where positions share statistics");
  expect_error([&] { norm(x, instance(), Statistics::mixed(mean, var, learned), {}, {}, {.normalized_channels = 6}); },
               "all channels are normalized");
  expect_error([&] { norm(x, whole(), Statistics::mixed(mean, var, half, true), {}, {}, {.scale = features()}); },
               "[norm] a variance of its own wants centering, all channels, and no mixture's");
  expect_error([&] { norm(x, whole(), {}, random({3, 6}), {}); }, "[norm] gamma of shape [3, 6]");
  expect_error([&] { norm(x, instance(), {}, {}, random({4, 5})); }, "[norm] beta of shape [4, 5]");
  expect_error([&] { norm(x, instance(), {}, random({4, 6}), random({6})); }, "gamma is [4, 6], beta is [6]");
}

}  // namespace
}  // namespace norma
