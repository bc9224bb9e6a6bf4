// Layers with weights that are used in another form, or dropped, or looked up: weight and spectral norm, Dropout2d,
// DropPath, Embedding, ShapedLayerNorm, Lambda.
#include "norma/nn/layers.h"
#include "norma/nn/norm/population.h"
#include "norma/nn/sequential.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

TEST(WeightNorm, AgreesWithPyTorch) {
  for_each_case("layers", "weight_norm", [](const GoldenCase& c) {
    Linear layer(5, 4, {.bias = false});
    weight_norm(layer);
    layer.weight = Parameter(c["w"]);
    layer.weight_g = Parameter(c["g"]);
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return layer(x); }, {{"x", x}, {"w", layer.weight}, {"g", layer.weight_g}});
  });
  for_each_case("layers", "weight_norm_conv", [](const GoldenCase& c) {
    Conv2d layer(3, 4, 3, {}, {.bias = false});
    weight_norm(layer);
    layer.weight = Parameter(c["w"]);
    layer.weight_g = Parameter(c["g"]);
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return layer(x); }, {{"x", x}, {"w", layer.weight}, {"g", layer.weight_g}});
  });
}

TEST(WeightNorm, BeginsAsTheLayerWas) {
  Conv2d conv(3, 4, 3);
  const Tensor x = randn({2, 5, 5, 3}), y = conv(x);
  weight_norm(conv);
  EXPECT_TRUE(close(conv(x), y, 1e-6));
  EXPECT_EQ(conv.weight_g.shape(), (Shape{4, 1, 1, 1}));
  std::vector<std::string> names;
  for (const auto& [name, _] : conv.state_dict()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"weight", "bias", "weight_g"}));
}

TEST(SpectralNorm, AgreesWithPyTorch) {
  for_each_case("layers", "spectral_norm", [](const GoldenCase& c) {
    Linear layer(c["x"].dim(1), 4, {.bias = false});
    layer.to(c.dtype);
    layer.to(test_device());
    spectral_norm(layer);
    const Tensor w = c.leaf("w"), x = c.leaf("x");
    static_cast<Tensor&>(layer.weight) = reshape(w, {4, -1});
    layer.weight_u.copy_from(c["u"]);
    check_case(c,
               [&] {
                 static_cast<Tensor&>(layer.weight) = reshape(w, {4, -1});  // recorded
                 return layer(x);
               },
               {{"x", x}, {"w", w}});
    EXPECT_TRUE(close(layer.weight_u, c["u_after"]));
    EXPECT_TRUE(close(layer.weight_v, c["v_after"]));
  });
}

// What is used has the largest singular value 1, a pass in evaluation changes nothing, and two passes on one tape may
// be swept.
TEST(SpectralNorm, KeepsItsVectors) {
  Conv2d conv(3, 4, 3);
  conv.to(f64);
  spectral_norm(conv);
  const Tensor x = randn({2, 5, 5, 3}, default_generator(), f64);
  for (int i = 0; i < 50; ++i) conv(x);
  const Tensor u = conv.weight_u.clone(), w = reshape(conv.filters(), {4, -1});
  Tensor power = randn({4, 1}, default_generator(), f64);
  for (int i = 0; i < 200; ++i) {
    power = matmul(matmul(w, transpose(w, 0, 1)), power);
    power = power / sqrt(sum(square(power)));
  }
  EXPECT_NEAR(sqrt(sum(square(matmul(transpose(w, 0, 1), power)))).item(), 1, 1e-6);

  conv.eval();
  const Tensor before = conv.weight_u.clone();
  conv(x);
  EXPECT_TRUE(same_bits(conv.weight_u, before));
  conv.train();
  Tape tape;
  const Tensor loss = sum(conv(x)) + sum(square(conv(x)));
  tape.backward(loss);
  EXPECT_TRUE(conv.weight.grad().defined());
  EXPECT_FALSE(same_bits(conv.weight_u, before));
}

TEST(WeightNorm, IsOfOneKindAndNotFolded) {
  Linear fc(3, 4);
  weight_norm(fc);
  expect_error([&] { spectral_norm(fc); }, "[spectral_norm] the Linear's weight is normalized already");
  ConvTranspose2d up(3, 4, 2);
  expect_error([&] { weight_norm(up); }, "[weight_norm] of a Linear or a Conv2d, not of a ConvTranspose2d");

  Sequential net(Conv2d(3, 4, 1), BatchNorm(4));
  spectral_norm(static_cast<Conv2d&>(net[0]));
  const Tensor x = randn({2, 5, 5, 3});
  {
    Tape tape;
    net(x);
  }
  net.eval();
  const Tensor y = net(x);
  fold_norm(net, x);
  EXPECT_TRUE(close(net(x), y, 1e-5));
  EXPECT_FALSE(static_cast<Norm&>(net[1]).identity);
}

TEST(DropLayers, DropChannelsAndSamples) {
  Generator generator(3);
  const Tensor x = there(ones({64, 3, 3, 8}));
  const auto whole_entries = [&](const Tensor& y, const Shape& rest, double p) {
    const Tensor low = min(y, rest), high = max(y, rest);
    EXPECT_TRUE(same_bits(low, high)) << "dropped as a whole";
    const double kept = 1 / (1 - p), share = mean(high).item() / kept;
    EXPECT_NEAR(share, 1 - p, 0.15);
    for (double value : high.to_vector<double>()) EXPECT_TRUE(value == 0 || std::abs(value - kept) < 1e-6);
  };
  const Tensor channels = Dropout2d(0.25, generator)(x);
  whole_entries(channels, {1, 2}, 0.25);
  EXPECT_FALSE(same_bits(min(channels, {1, 2, 3}), max(channels, {1, 2, 3}))) << "each channel by itself";
  whole_entries(DropPath(0.4, generator)(x), {1, 2, 3}, 0.4);

  // What is dropped gives and gets nothing, whatever it is.
  DropPath path(0.5, generator);
  Tensor wild = there(full({64, 2}, INFINITY)).set_requires_grad();
  Tape tape;
  const Tensor y = path(wild);
  tape.backward(y, {.seed = full({64, 2}, INFINITY, f32, test_device())});
  for (const Tensor& t : {y, wild.grad()})
    for (double value : t.to_vector<double>()) EXPECT_TRUE(value == 0 || value == INFINITY) << value;
  path.eval();
  EXPECT_TRUE(same_bits(path(wild), wild));
  expect_error([&] { Dropout2d(0.5)(there(ones({3}))); }, "[Dropout] want [N, ..., C], not [3]");
  expect_error([] { DropPath(1.0); }, "[Dropout] a probability of 1");
}

TEST(Embedding, AgreesWithPyTorch) {
  for_each_case("layers", "embedding", [](const GoldenCase& c) {
    Embedding layer(5, 3);
    layer.weight = Parameter(c["w"]);
    check_case(c, [&] { return layer(c["ids"]); }, {{"w", layer.weight}});
  });
  Embedding layer(5, 3);
  EXPECT_EQ(layer(zeros({0, 2}, i64)).shape(), (Shape{0, 2, 3}));
  expect_error([&] { layer(full({2}, 5, i64)); }, "[index_select]");
  expect_error([] { Embedding(0, 3); }, "[Embedding] 0 rows of 3 features");
}

TEST(ShapedLayerNorm, AgreesWithPyTorch) {
  for_each_case("layers", "layer_norm", [](const GoldenCase& c) {
    ShapedLayerNorm layer(c.shape("shape"));
    layer.weight = Parameter(c["gamma"]);
    layer.bias = Parameter(c["beta"]);
    const Tensor x = c.leaf("x");
    check_case(
        c, [&] { return layer(x); }, {{"x", x}, {"gamma", layer.weight}, {"beta", layer.bias}},
        c.dtype == f32 ? 1e-5 : 0);
  });
  ShapedLayerNorm layer({4, 3});
  expect_error(
      [&] {
        layer(ones({2, 3, 4}));
      },
      "[ShapedLayerNorm] the input [2, 3, 4] does not end in the shape [4, 3]");
  expect_error([&] { layer(ones({3})); }, "[ShapedLayerNorm] the input [3]");
  expect_error([] { ShapedLayerNorm({4, 0}); }, "[ShapedLayerNorm] the shape [4, 0] has no elements");
}

TEST(Lambda, IsAFunctionAmongLayers) {
  Sequential net(
      Linear(3, 4), [](const Tensor& x) { return x * 2.0; }, relu, Linear(4, 2));
  const Tensor x = randn({5, 3});
  Linear& first = static_cast<Linear&>(net[0]);
  EXPECT_TRUE(same_bits(net(x), net[3](relu(first(x) * 2.0))));
  EXPECT_EQ(net.named_parameters().back().first, "3.bias");
  EXPECT_EQ(net[1].type(), "Lambda");
  expect_error([] { Lambda(nullptr); }, "[Lambda] an empty function");
}

}  // namespace
}  // namespace norma::nn
