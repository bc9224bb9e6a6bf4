// Initial weights: bounds, moments, PyTorch's defaults, seeds.
#include "norma/nn/init.h"

#include "norma/nn/layers.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

struct SampleMoments {
  double mean = 0, deviation = 0, largest = 0;
};

SampleMoments sample_moments(const Tensor& x) {
  SampleMoments m;
  const std::vector<double> values = x.to_vector<double>();
  for (double v : values) m.mean += v / static_cast<double>(values.size());
  for (double v : values) m.deviation += (v - m.mean) * (v - m.mean) / static_cast<double>(values.size());
  for (double v : values) m.largest = std::max(m.largest, std::abs(v));
  m.deviation = std::sqrt(m.deviation);
  return m;
}

void expect_moments(const Tensor& x, double deviation, bool uniform) {
  const SampleMoments m = sample_moments(x);
  EXPECT_NEAR(m.mean, 0, 0.02 * deviation);
  EXPECT_NEAR(m.deviation, deviation, 0.02 * deviation);
  const double bound = std::sqrt(3.0) * deviation;
  if (uniform) EXPECT_TRUE(m.largest <= bound * (1 + 1e-6) && m.largest > 0.999 * bound) << m.largest << " " << bound;
  else EXPECT_GT(m.largest, 3 * deviation);
}

TEST(Init, MomentsAndBounds) {
  const Tensor w = empty({64, 3, 5, 20});  // fan in 300, fan out 960
  Generator g(5);
  EXPECT_EQ(init::fan_of(w, init::Fan::in), 300);
  EXPECT_EQ(init::fan_of(w, init::Fan::out), 960);
  init::kaiming_uniform(w, {}, g);
  expect_moments(w, std::sqrt(2.0 / 300), true);
  init::kaiming_normal(w, {.gain = std::sqrt(1.6), .fan = init::Fan::out}, g);
  expect_moments(w, std::sqrt(1.6 / 960), false);
  init::xavier_uniform(w, 2, g);
  expect_moments(w, 2 * std::sqrt(2.0 / 1260), true);
  init::xavier_normal(w, 5.0 / 3, g);
  expect_moments(w, 5.0 / 3 * std::sqrt(2.0 / 1260), false);
  expect_error([] { init::kaiming_normal(empty({3})); }, "[init] a weight has two axes or more");
}

TEST(Init, LayersStartAsPyTorchs) {
  manual_seed(3);
  Linear fc(300, 200);
  Conv2d conv(32, 64, {3, 5}, {.groups = 2});         // fan in 3 * 5 * 16
  ConvTranspose2d up(64, 32, {3, 5}, {.groups = 2});  // fan in, as PyTorch counts, 3 * 5 * 16
  for (const auto& [weight, bias, fan] : {std::tuple<Tensor, Tensor, double>{fc.weight, fc.bias, 300},
                                          {conv.weight, conv.bias, 240},
                                          {up.weight, up.bias, 240}}) {
    expect_moments(weight, 1 / std::sqrt(3 * fan), true);
    const SampleMoments m = sample_moments(bias);
    EXPECT_LE(m.largest, 1 / std::sqrt(fan));
    EXPECT_GT(m.largest, 0.8 / std::sqrt(fan));
  }
  EXPECT_EQ(conv.weight.shape(), (Shape{64, 3, 5, 16}));
  EXPECT_EQ(up.weight.shape(), (Shape{64, 3, 5, 16}));
  EXPECT_EQ(up.bias.shape(), (Shape{32}));
}

TEST(Init, TheSeedFixesTheWeights) {
  manual_seed(11);
  const Linear a(5, 7);
  const Linear b(5, 7);
  manual_seed(11);
  const Linear c(5, 7);
  EXPECT_TRUE(same_bits(a.weight, c.weight) && same_bits(a.bias, c.bias));
  EXPECT_FALSE(same_bits(a.weight, b.weight));
}

TEST(Init, WantsAGainThatMakesSense) {
  const Tensor w = ones({3, 3});
  for (double gain : {double{NAN}, double{INFINITY}, -1.}) {
    const std::string want = fmt::format("[init] a gain of {}", gain);
    expect_error([&] { init::kaiming_uniform(w, {.gain = gain}); }, want);
    expect_error([&] { init::kaiming_normal(w, {.gain = gain}); }, want);
    expect_error([&] { init::xavier_uniform(w, gain); }, want);
    expect_error([&] { init::xavier_normal(w, gain); }, want);
  }
  EXPECT_TRUE(same_bits(w, ones({3, 3})));
}

}  // namespace
}  // namespace norma::nn
