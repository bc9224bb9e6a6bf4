// Norms of numbers that are not nice: infinities and NaN, outliers, squares that float cannot hold. What is said of one
// grouping here holds for all.
#include <limits>

#include "norma/core/workers.h"
#include "norma/ops/norm/norm_max_pool.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();

struct Gradients {
  Tensor y, dx, dgamma, dbeta, dresidual;  // on the CPU
};

struct Arguments {
  Grouping grouping{};
  Statistics statistics{};
  NormOptions options{};
  Tensor gamma{}, beta{};
  bool pool = false;
};

Gradients run(const Tensor& host, const Tensor& dy, Arguments a) {
  Tensor x = there(host.clone()).set_requires_grad(), gamma = a.gamma, beta = a.beta;
  for (Tensor* t : {&a.statistics.mean, &a.statistics.var, &gamma, &beta})
    if (t->defined()) *t = there(t->clone());
  for (Tensor* t : {&gamma, &beta})
    if (t->defined()) t->set_requires_grad();
  for (Tensor& r : a.options.residual) r = there(r.clone()).set_requires_grad();
  Tape tape;
  const Tensor y = a.pool ? norm_max_pool(x, a.grouping, a.statistics, gamma, beta, {.kernel = 2}, a.options)
                          : norm(x, a.grouping, a.statistics, gamma, beta, a.options);
  tape.backward(y, {.seed = there(dy)});
  const auto here = [](const Tensor& t) { return t.defined() ? t.to(cpu_device) : Tensor(); };
  return {here(y.detach()), here(x.grad()), gamma.defined() ? here(gamma.grad()) : Tensor(),
          beta.defined() ? here(beta.grad()) : Tensor(),
          a.options.residual.empty() ? Tensor() : here(a.options.residual[0].grad())};
}

struct Layout {
  const char* name;
  Shape shape;
  Grouping grouping;
};
// Every path through the kernels: sets that share rows, in blocks or in one go, and sets of a row.
std::vector<Layout> layouts() {
  return {{"whole", {6, 4, 4, 5}, whole()},
          {"whole, one channel", {3, 1}, whole()},
          {"whole, vectors", {40, 4, 4, 64}, whole()},
          {"chunks", {40, 3, 20}, chunks(2)},
          {"instance", {20, 3, 3, 7}, instance()},
          {"groups", {20, 2, 2, 8}, groups(2)},
          {"layer", {18, 3, 3, 6}, layer()},
          {"features", {5, 3, 3, 40}, features()},
          {"groups of rows", {9, 12}, groups(3)},
          {"batch group", {6, 4, 4, 6}, {Samples::whole(), Positions::all, Channels::groups(3)}},
          {"position by position", {6, 2, 2, 3}, {Samples::whole(), Positions::each, Channels::each()}}};
}
int64_t entries(const Layout& l) {
  const int64_t groups = l.grouping.channels.count > 0 ? l.grouping.channels.count : l.shape.back();
  const bool positions = l.grouping.positions == Positions::each && l.grouping.over_samples();
  return positions ? groups * l.shape.numel() / (l.shape[0] * l.shape.back()) : groups;
}

void set(const Tensor& x, int64_t i, double value) { view::slice(view::reshape(x, {-1}), 0, i, i + 1).fill(value); }
double get(const Tensor& x, int64_t i) { return view::slice(view::reshape(x, {-1}), 0, i, i + 1).to(f64).item(); }

TEST(NormExtremes, GivenStatisticsKeepElementsApart) {
  for (const DType dtype : {f32, f64})
    for (const Layout& l : layouts())
      for (const bool residual : {false, true})
        for (const Activation& f : {Activation::none(), Activation::relu(), Activation::leaky_relu(0.25)}) {
          SCOPED_TRACE(
              fmt::format("{} {} residual {} activation {}", dtype, l.name, residual, static_cast<int>(f.kind)));
          const int64_t n = l.shape.numel();
          Arguments a{l.grouping, Statistics::given(zeros({entries(l)}, f64), full({entries(l)}, 0.25, f64))};
          a.options.eps = 0;
          a.options.activation = f;
          if (residual) a.options.residual = {random(l.shape, 3).to(dtype)};
          a.gamma = full({l.shape.back()}, 1.5, dtype);
          a.beta = zeros({l.shape.back()}, dtype);
          const Tensor x = random(l.shape, 1).to(dtype), dy = random(l.shape, 2).to(dtype);
          const Gradients plain = run(x, dy, a);
          const Tensor bad = x.clone(), bad_dy = dy.clone();
          set(bad, 0, kInf);
          set(bad_dy, 1, kNaN);
          if (n > 4) {
            set(bad, 2, dtype == f32 ? 1e25 : 1e250), set(bad_dy, 2, dtype == f32 ? 1e15 : 1e100);
            set(bad, 3, -kInf), set(bad_dy, 3, 2);
          }
          const Gradients got = run(bad, bad_dy, a);
          EXPECT_EQ(get(got.dx, 0), 3 * get(dy, 0));  // +inf is above 0, for each activation (with a residual, too)
          EXPECT_TRUE(std::isnan(get(got.dx, 1)) || get(got.dx, 1) == 0);
          if (n > 4) {
            EXPECT_NEAR(get(got.dx, 2) / (dtype == f32 ? 3e15 : 3e100), 1, 1e-6);
            EXPECT_EQ(get(got.dx, 3), f.kind == Activation::Kind::none   ? 6
                                      : f.kind == Activation::Kind::relu ? 0
                                                                         : 1.5);
          }
          for (int64_t i = n > 4 ? 4 : 2; i < n; ++i) {
            ASSERT_EQ(get(got.dx, i), get(plain.dx, i)) << i;
            ASSERT_EQ(get(got.y, i), get(plain.y, i)) << i;
          }
        }
}

TEST(NormExtremes, ChannelsThatPassThroughDoNotMixTheirElements) {
  const Tensor x = random({4, 3, 3, 6}, 1).to(f32), dy = random({4, 3, 3, 6}, 2).to(f32);
  set(x, 5, kInf), set(x, 4, kNaN), set(dy, 9, 3e38), set(x, 9, 3e38);  // of the channels 3 to 5
  const Gradients got = run(x, dy, {.grouping = instance(), .options = {.normalized_channels = 3}});
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (i % 6 >= 3) {
      EXPECT_EQ(get(got.dx, i), get(dy, i)) << i;
    }
  }
}

TEST(NormExtremes, WhatAnActivationCutsOffHasNoGradient) {
  for (const Layout& l : layouts())
    for (const bool residual : {false, true}) {
      SCOPED_TRACE(fmt::format("{} residual {}", l.name, residual));
      Arguments a{l.grouping};
      a.options.activation = Activation::relu();
      if (residual) a.options.residual = {random(l.shape, 3).to(f32)};
      const Tensor x = random(l.shape, 1).to(f32), dy = random(l.shape, 2).to(f32), huge = dy.clone(),
                   none = dy.clone();
      const Gradients plain = run(x, dy, a);
      for (int64_t i = 0; i < x.numel(); ++i)
        if (get(plain.y, i) <= 0) set(huge, i, i % 2 ? kInf : kNaN), set(none, i, 0);
      const Gradients got = run(x, huge, a), want = run(x, none, a);
      EXPECT_TRUE(same_bits(got.dx, want.dx));
      if (residual) {
        EXPECT_TRUE(close(got.dresidual, want.dresidual));
      }
    }
}

TEST(NormExtremes, ReluPassesTheGradientOnAtNaN) {
  for (const bool residual : {false, true})
    for (const Layout& l : layouts()) {
      SCOPED_TRACE(fmt::format("{} residual {}", l.name, residual));
      Arguments a{l.grouping, Statistics::given(zeros({entries(l)}, f64), ones({entries(l)}, f64))};
      a.options = {.eps = 0, .activation = Activation::relu()};
      if (residual) a.options.residual = {zeros(l.shape)};
      const Tensor x = random(l.shape, 1).to(f32);
      set(x, 1, kNaN);
      const Gradients got = run(x, full(l.shape, 2), a);
      EXPECT_TRUE(std::isnan(get(got.y, 1)));
      EXPECT_EQ(get(got.dx, 1), 2);
    }
}

TEST(NormExtremes, OfAMaxPoolOnlyTheWinnersGradientCounts) {
  const Shape shape = {4, 4, 4, 32};
  const Tensor x = random(shape, 1).to(f32), dy = random({4, 2, 2, 32}, 2).to(f32);
  Arguments a{whole(), Statistics::given(zeros({32}, f64), ones({32}, f64))};
  a.options = {.eps = 0, .activation = Activation::relu()};
  a.pool = true;
  const Gradients plain = run(x, dy, a);
  set(x, 0, -kInf), set(x, 33, kInf), set(dy, 40, kInf);
  const Gradients got = run(x, dy, a);
  EXPECT_EQ(get(got.dx, 0), 0);
  EXPECT_EQ(get(got.dx, 33), get(dy, 1));
  int64_t infinite = 0, different = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    infinite += std::isinf(get(got.dx, i));
    different += get(got.dx, i) != get(plain.dx, i);
    EXPECT_FALSE(std::isnan(get(got.dx, i))) << i;
  }
  EXPECT_LE(infinite, 1);
  EXPECT_LE(different, 9);  // of the windows of elements 0 and 33, and of output 40
}

TEST(NormExtremes, AnOutlierIsNoShift) {
  const double var = (1e8 - 1e8 / 65536) / 65535;  // of zeros and one pixel of 1e4
  for (const int64_t at : {0, 77, 65535}) {
    const Tensor x = zeros({1, 256, 256, 1});
    set(x, at, 1e4);
    for (const Grouping& g : {whole(), instance(), layer(), groups(1)})
      EXPECT_NEAR(moments(there(x), g).var(1).item() / var, 1, 1e-6) << at << " " << g.str();
    const Tensor row = view::reshape(x, {1, 65536});
    EXPECT_NEAR(moments(there(row), features()).var(1).item() / var, 1, 1e-6) << at;
  }
  // The same in one channel of several, in each set, and with numbers beside it.
  for (const Shape& shape : {Shape{4, 64, 64, 1}, Shape{4, 64, 64, 3}, Shape{4, 64, 64, 16}, Shape{4, 64, 64, 100}})
    for (const Grouping& g : {whole(), chunks(2), instance()})
      for (const double shift : {0., 3.}) {
        const Tensor x = random(shape, 5).to(f32) + shift;
        for (int64_t sample = 0; sample < 4; ++sample) set(x, sample * 4096 * shape[3], 1e4);
        const Tensor got = moments(there(x), g).var(1), want = moments(there(x.to(f64)), g).var(1);
        EXPECT_TRUE(close(got / want, ones_like(want), 3e-6)) << shape.str() << " " << g.str();
      }
}

TEST(NormExtremes, DeviationsWhoseSquaresAreTooLargeForFloat) {
  for (const double scale : {1e19, 1e25, 1e37, 1e-19, 1e-30})
    for (const Layout& l : layouts())
      for (const bool center : {true, false}) {
        if (l.shape.numel() < 20) continue;
        SCOPED_TRACE(fmt::format("{} scale {} center {}", l.name, scale, center));
        Arguments a{l.grouping};
        a.options = {.eps = 0, .activation = Activation::leaky_relu(0.5), .center = center};
        a.gamma = (random({l.shape.back()}, 4) + 1.5).to(f32);
        a.beta = random({l.shape.back()}, 5).to(f32);
        const Tensor x = (random(l.shape, 1) * scale).to(f32), dy = random(l.shape, 2).to(f32);
        const Gradients got = run(x, dy, a);
        Arguments exact = a;
        exact.gamma = a.gamma.to(f64), exact.beta = a.beta.to(f64);
        const Gradients want = run(x.to(f64), dy.to(f64), exact);
        EXPECT_TRUE(close(got.y.to(f64), want.y, 3e-6));
        EXPECT_TRUE(close(got.dx.to(f64) * scale, want.dx * scale, 1e-5));
        EXPECT_TRUE(close(got.dgamma.to(f64), want.dgamma, 1e-5));
        EXPECT_TRUE(close(got.dbeta.to(f64), want.dbeta, 1e-5));
        if (scale > 1) {  // squares of small ones are beside any eps
          const Moments m = moments(there(x), l.grouping, center),
                        in_double = moments(there(x.to(f64)), l.grouping, center);
          EXPECT_TRUE(close(m.m2 / in_double.m2, ones_like(m.m2), 1e-5));
        }
      }
}

TEST(NormExtremes, DeviationsThatAreTooLargeForFloat) {
  for (const Layout& l : layouts()) {
    if (l.shape.numel() < 20) continue;
    SCOPED_TRACE(l.name);
    const Tensor x = random(l.shape, 1).to(f32);
    for (int64_t i = 0; i < x.numel(); ++i) set(x, i, get(x, i) < 0 ? -3e38 : 3e38);
    const Moments got = moments(there(x), l.grouping), want = moments(there(x.to(f64)), l.grouping);
    EXPECT_TRUE(close(got.mean / 1e38, want.mean / 1e38, 1e-6));
    EXPECT_TRUE(close(got.m2 / 1e76, want.m2 / 1e76, 1e-5));
    if (!test_device().is_cpu()) continue;  // CUDA does not compute the rest in double
    EXPECT_TRUE(close(norm(x, l.grouping, {}, {}, {}).to(f64), norm(x.to(f64), l.grouping, {}, {}, {}), 3e-6));
  }
}

TEST(NormExtremes, AMeanThatIsLargeAgainstTheDeviation) {
  const Tensor x = there(tensor<float>({16777216, 16777218}, {2, 1}));
  EXPECT_EQ(moments(x, whole()).var(1).item(), 2);
  EXPECT_TRUE(close(norm(x, whole(), {}, {}, {}, {.eps = 0}).to(cpu_device), tensor<float>({-1, 1}, {2, 1})));
}

TEST(NormExtremes, MomentsWithoutCenteringAreAboutZero) {
  for (const Layout& l : layouts()) {
    SCOPED_TRACE(l.name);
    const Tensor x = there((random(l.shape, 1) + 5).to(f32));
    Moments m;
    norm(x, l.grouping, {}, {}, {}, {.center = false, .moments = &m});
    const Moments about_mean = moments(x, l.grouping), about_zero = moments(x, l.grouping, false);
    EXPECT_TRUE(close(about_mean.m2 + about_mean.count * square(about_mean.mean), m.m2, 1e-12));
    EXPECT_TRUE(close(m.mean, zeros_like(m.mean)));
    EXPECT_TRUE(close(m.count, about_mean.count));
    EXPECT_TRUE(close(about_zero.mean, m.mean));
    EXPECT_TRUE(close(about_zero.m2, m.m2, 1e-12));
  }
}

TEST(NormExtremes, RenormWithoutCenteringKnowsNoMean) {
  const Tensor x = there((random({8, 6}, 1) + 5).to(f32)), var = there(full({6}, 20, f64));
  const auto y = [&](double mean) {
    return norm(x, whole(), Statistics::renorm(there(full({6}, mean, f64)), var), {}, {}, {.center = false});
  };
  EXPECT_TRUE(same_bits(y(0), y(3)));
}

TEST(NormExtremes, AcrossWorkersASingleElementIsAnError) {
  const Tensor x = there(random({1, 3}, 1).to(f32));
  run_workers({}, [&](Communicator& me) {
    const Grouping g = across(me);
    expect_error([&] { norm(x, g, {}, {}, {}); }, "a single element");
    EXPECT_NO_THROW(norm(x, g, {}, {}, {}, {.center = false}));
    EXPECT_NO_THROW(moments(x, g));
  });
}

}  // namespace
}  // namespace norma
