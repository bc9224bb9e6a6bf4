// Layers that stand where a norm might, and the threshold behind a norm: FRN with TLU, DyT and its erf variant.
#include "norma/nn/layers.h"
#include "norma/nn/norm/population.h"
#include "norma/nn/sequential.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

// Each golden case of `op`: the layer with the case's parameters, by name.
void check_layer(const std::string& op, const std::function<Norm(const GoldenCase&, int64_t channels)>& make,
                 const std::vector<std::pair<std::string, Parameter Norm::*>>& parameters) {
  for_each_case("wider_norm", op, [&](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    Norm norm = make(c, x.dim(-1));
    std::vector<std::pair<std::string, Tensor>> leaves = {{"x", x}};
    for (const auto& [name, parameter] : parameters) {
      ASSERT_EQ((norm.*parameter).shape(), c[name].shape()) << name;
      leaves.emplace_back(name, norm.*parameter = Parameter(c[name].clone()));
    }
    check_case(
        c, [&] { return norm(x); }, leaves, c.dtype == f32 ? 1e-5 : 1e-12);
  });
}

TEST(Instead, AgreesWithTheFormulaeWrittenOut) {
  check_layer("frn", [](const GoldenCase&, int64_t channels) { return FilterResponseNorm(channels); },
              {{"gamma", &Norm::weight}, {"beta", &Norm::bias}, {"tau", &Norm::tau}});
  check_layer("dynamic_tanh", [](const GoldenCase&, int64_t channels) { return DynamicTanh(channels); },
              {{"gamma", &Norm::weight}, {"beta", &Norm::bias}, {"a", &Norm::input_scale}});
  check_layer("dynamic_erf", [](const GoldenCase&, int64_t channels) { return DynamicErf(channels); },
              {{"gamma", &Norm::weight}, {"beta", &Norm::bias}, {"a", &Norm::input_scale}, {"s", &Norm::input_shift}});
  check_layer("evo", [](const GoldenCase& c, int64_t channels) { return EvoNormS0(channels, c.attrs.at("groups")); },
              {{"gamma", &Norm::weight}, {"beta", &Norm::bias}, {"a", &Norm::input_scale}});
}

std::vector<Norm> all_layers(int64_t channels) {
  std::vector<Norm> layers;
  layers.push_back(FilterResponseNorm(channels));
  layers.push_back(DynamicTanh(channels));
  layers.push_back(DynamicErf(channels));
  layers.push_back(EvoNormS0(channels, 2));
  return layers;
}

TEST(Instead, NamesWhatItIs) {
  const char* const types[] = {"FilterResponseNorm", "DynamicTanh", "DynamicErf", "EvoNormS0"};
  size_t i = 0;
  for (const Norm& norm : all_layers(4)) {
    EXPECT_EQ(norm.type(), types[i++]);
    EXPECT_FALSE(norm.has_population()) << norm.type();
  }
  EXPECT_EQ(DynamicErf(4).named_parameters().size(), 4u);
  EXPECT_EQ(FilterResponseNorm(4).named_parameters().at(2).first, "tau");
}

// With residual, activation and pooling behind, in training and evaluation, fused as far as may be.
TEST(Instead, WhatStandsBehindIsBehindTheThreshold) {
  const Tensor x = random({3, 4, 4, 6}, 1).to(f32), residual = random({3, 4, 4, 6}, 2).to(f32);
  std::vector<Norm> layers = all_layers(6);
  layers.push_back(Norm(6, {.thresholded = true}));
  layers.push_back(Norm(6, {.grouping = groups(2), .thresholded = true, .affine = false}));
  for (Norm& norm : layers) {
    SCOPED_TRACE(norm.type());
    if (norm.tau.defined()) norm.tau.copy_from(tensor({-0.5, -0.2, 0., 0.1, 0.3, 0.8}).to(f32));
    for (bool training : {true, false}) {
      norm.train(training);
      norm.thresholded = false;
      norm.activation = {};
      norm.max_pool = {};
      const Tensor plain = norm(x) + residual;  // without anything behind
      norm.thresholded = norm.tau.defined();
      Tensor want = norm.thresholded ? maximum(plain, norm.tau).detach() : plain.detach();
      EXPECT_TRUE(close(norm(x, residual), want));
      norm.activation = Activation::leaky_relu(0.3);
      norm.max_pool = Pair(2);
      EXPECT_TRUE(close(norm(x, residual), max_pool2d(leaky_relu(want, 0.3), {.kernel = 2})));
    }
  }
}

TEST(Instead, AThresholdStandsBehindAConvolutionsNorm) {
  Sequential model(Conv2d(3, 8, 3), Norm(8, {.thresholded = true}));
  auto& norm = dynamic_cast<Norm&>(model[1]);
  norm.tau.fill(0.25);
  model.eval();
  const Tensor x = random({2, 8, 8, 3}).to(f32), y = model(x);
  EXPECT_GE(min(y).item(), 0.25);
  EXPECT_TRUE(close(y, maximum(norma::norm(model[0](x), whole(), Statistics::given(norm.running_mean, norm.running_var),
                                           norm.weight, norm.bias),
                               0.25)));
  EXPECT_EQ(fold_norm(model, x).left.at(0), "1: has a threshold behind it");
  EXPECT_TRUE(same_bits(model(x), y));
}

// gamma and beta of each sample, either alone.
TEST(Instead, AThresholdGoesWithAnAffineOfEachSample) {
  Norm norm(4, {.thresholded = true});
  norm.tau.fill(0.5);
  const Tensor x = random({3, 2, 2, 4}).to(f32), own = random({3, 4}, 2).to(f32) + 1, none;
  for (const auto& [gamma, beta] : {std::pair(own, own), {own, none}, {none, own}})
    EXPECT_TRUE(close(norm(x, gamma, beta), maximum(norma::norm(x, whole(), {}, gamma, beta), 0.5)));
}

// In a model, one for the other.
TEST(Instead, AnyNormBecomesAnyOther) {
  Sequential model(Conv2d(3, 8, 3), BatchNorm(8), ReLU(), Conv2d(8, 8, 3), GroupNorm(2, 8));
  const Tensor x = random({2, 8, 8, 3}).to(f32);
  for (size_t kind = 0; kind < 5; ++kind) {
    for_each_norm(model, [&](const std::string&, Norm& norm) {
      norm = kind < 4 ? std::move(all_layers(norm.channels())[kind]) : BatchNorm(norm.channels());
    });
    Tape tape;
    tape.backward(mean(square(model(x))));
    for (const auto& [name, p] : model.named_parameters()) EXPECT_TRUE(p.grad().defined()) << kind << name;
  }
}

TEST(Instead, EmptyBatchesAndErrors) {
  for (Norm& norm : all_layers(4)) EXPECT_EQ(norm(zeros({0, 3, 3, 4})).shape(), (Shape{0, 3, 3, 4})) << norm.type();
  expect_error([] { Norm(4, {.grouping = instance(), .instead = Instead::tanh, .half = true}); }, "goes without");
  expect_error([] { Norm(4, {.grouping = instance(), .thresholded = true, .half = true}); },
               "a threshold goes without");
  Norm norm = GroupNorm(2, 4);
  norm.instead = Instead::erf;
  expect_error([&] { norm(ones({2, 4})); }, "[DynamicErf] has no parameters");
  norm.instead = Instead::evo;
  expect_error([&] { norm(ones({2, 4})); }, "[EvoNormS0] has no parameters");
  norm = DynamicTanh(4);
  norm.instead = Instead::evo;
  norm.grouping = instance();
  expect_error([&] { norm(ones({2, 4})); }, "[EvoNormS0] has no parameters");  // of its size
  norm.instead = Instead::erf;
  expect_error([&] { norm(ones({2, 4})); }, "[DynamicErf] has no parameters");  // no shift
  for (const Grouping& grouping : {whole(), chunks(2), features()})
    expect_error([&] { Norm(4, {.grouping = grouping, .instead = Instead::evo}); }, "wants cells within a sample");
  expect_error([] { EvoNormS0(12); }, "12 channels do not divide into 8 groups");
  norm = GroupNorm(2, 4);
  norm.thresholded = true;
  expect_error([&] { norm(ones({2, 4})); }, "[GroupNorm(2)] has no parameters");
  Norm tanh = DynamicTanh(4);
  expect_error([&] { tanh(ones({2, 4}), ones({2, 4}), {}); }, "nor without a norm");
  expect_error([&] { tanh(ones({2, 5})); }, "wants [N, ..., 4]");
}

}  // namespace
}  // namespace norma::nn
