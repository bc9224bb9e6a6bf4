// Layers: parameters, options and modes. What the ops compute is tested with the ops.
#include "norma/nn/layers.h"

#include "norma/nn/sequential.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/linalg/linear.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

TEST(Layers, LinearWithAndWithoutBias) {
  const Tensor x = rand({2, 5, 3});
  Linear fc(3, 4), plain(3, 4, {.bias = false});
  EXPECT_TRUE(same_bits(fc(x), linear(x, fc.weight, fc.bias)));
  EXPECT_TRUE(same_bits(plain(x), linear(x, plain.weight, Tensor())));
  EXPECT_EQ(plain.named_parameters().size(), 1u);
  expect_error([] { Linear(0, 3); }, "[Linear] a weight of shape [3, 0]: sizes are at least 1");
}

TEST(Layers, ConvolutionsPassTheirOptionsOn) {
  const Tensor x = rand({2, 7, 8, 4});
  Conv2d conv(4, 6, {3, 2}, {.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}, .groups = 2});
  const norma::Conv2dOptions same{.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}, .groups = 2};
  EXPECT_EQ(conv.weight.shape(), (Shape{6, 3, 2, 2}));
  EXPECT_TRUE(same_bits(conv(x), conv2d(x, conv.weight, conv.bias, same)));
  Conv2d plain(4, 4, 3, {.padding = 1}, {.bias = false});
  EXPECT_EQ(plain(x).shape(), x.shape());
  EXPECT_EQ(plain.parameters().size(), 1u);

  ConvTranspose2d up(4, 6, {3, 2}, {.stride = {2, 3}, .padding = {1, 0}, .output_padding = {1, 2}, .groups = 2});
  const norma::ConvTranspose2dOptions equal{.stride = {2, 3}, .padding = {1, 0}, .output_padding = {1, 2}, .groups = 2};
  EXPECT_EQ(up.weight.shape(), (Shape{4, 3, 2, 3}));
  EXPECT_TRUE(same_bits(up(x), conv_transpose2d(x, up.weight, up.bias, equal)));
  expect_error([] { Conv2d(3, 4, 3, {.groups = 2}); }, "[Conv2d] 2 groups do not divide 3 and 4 channels");
  expect_error([] { ConvTranspose2d(4, 3, 3, {.groups = 2}); }, "[ConvTranspose2d] 2 groups do not divide 4 and 3");
  expect_error([] { Conv2d(3, 4, 0); }, "[Conv2d] a weight of shape [4, 0, 0, 3]");
}

TEST(Layers, WithoutParameters) {
  const Tensor x = sub(rand({2, 4, 6, 3}), 0.5);
  EXPECT_TRUE(same_bits(MaxPool2d(2)(x), max_pool2d(x, {.kernel = 2})));
  EXPECT_TRUE(
      same_bits(MaxPool2d(3, {.stride = 2, .padding = 1})(x), max_pool2d(x, {.kernel = 3, .stride = 2, .padding = 1})));
  EXPECT_TRUE(same_bits(AvgPool2d({2, 3})(x), avg_pool2d(x, {.kernel = {2, 3}})));
  EXPECT_TRUE(same_bits(GlobalAvgPool()(x), global_avg_pool(x)));
  EXPECT_TRUE(same_bits(
      AvgPool2d(3, {.stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false})(x),
      avg_pool2d(x, {.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false})));
  EXPECT_TRUE(same_bits(ReLU6()(x), relu6(x)));
  EXPECT_TRUE(same_bits(Upsample({2, 1})(x), interpolate(x, Scale(2, 1))));
  const InterpolateOptions bilinear{.mode = Interpolation::bilinear, .align_corners = true};
  EXPECT_TRUE(same_bits(Upsample(1.7, {.mode = Interpolation::bilinear, .align_corners = true})(x),
                        interpolate(x, Scale(1.7), bilinear)));
  EXPECT_TRUE(same_bits(Flatten()(x), flatten(x)));
  EXPECT_TRUE(same_bits(Identity()(x), x));
  EXPECT_TRUE(same_bits(ReLU()(x), relu(x)));
  EXPECT_TRUE(same_bits(LeakyReLU(0.3)(x), leaky_relu(x, 0.3)));
  EXPECT_TRUE(same_bits(PReLU()(x), leaky_relu(x, 0.25)));
  EXPECT_TRUE(same_bits(PReLU(x.dim(-1), 0.5)(x), leaky_relu(x, 0.5)));
  EXPECT_TRUE(same_bits(GELU()(x), gelu(x)));
  EXPECT_TRUE(same_bits(SiLU()(x), silu(x)));
  EXPECT_TRUE(same_bits(Tanh()(x), tanh(x)));
  EXPECT_TRUE(same_bits(Sigmoid()(x), sigmoid(x)));
  EXPECT_TRUE(same_bits(Softmax(1)(x), softmax(x, 1)));
}

TEST(Layers, DropoutDropsInTrainingOnly) {
  Generator generator(3), same(3);
  Dropout layer(0.25, generator);
  const Tensor x = ones({100});
  EXPECT_TRUE(same_bits(layer(x), dropout(x, 0.25, same)));
  layer.eval();
  const Generator::State state = generator.state();
  EXPECT_TRUE(same_bits(layer(x), x));
  EXPECT_EQ(generator.state(), state);
  expect_error([] { Dropout(1.0); }, "[Dropout] a probability of 1");
}

// Standardization makes each filter's mean 0 and variance 1, whatever the raw weight's are; that is what is trained.
TEST(Layers, StandardizedConvolution) {
  Conv2d conv(4, 6, 3, {.padding = 1, .groups = 2});
  conv.to(f64);
  conv.standardized = true;
  const Tensor x = random({2, 5, 4, 4}), raw = random(conv.weight.shape(), 2) * 3.0 + 5.0, bias = random({6}, 3);
  const GradcheckResult result = gradcheck(
      [&](const std::vector<Tensor>& inputs) {
        static_cast<Tensor&>(conv.weight) = inputs[1];
        static_cast<Tensor&>(conv.bias) = inputs[2];
        return conv(inputs[0]);
      },
      {x, raw, bias});
  EXPECT_TRUE(result.ok) << result.message;
  const Shape filter = {1, 2, 3};
  const Tensor standard = (raw - mean(raw, filter, true)) / sqrt(var(raw, filter, 0, true));
  EXPECT_TRUE(close(conv(x), conv2d(x, standard, bias, conv.options), 1e-9));
  EXPECT_TRUE(same_bits(conv.state_dict()[0].second, raw));  // saved as it is
}

TEST(BatchNorm, KeepsRunningStatisticsAsPyTorch) {
  for_each_case("norm", "batch_norm", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    Norm bn = BatchNorm(x.dim(-1), {.momentum = c.attrs["momentum"], .eps = c.attrs["eps"]});
    bn.to(c.dtype);
    bn.weight = Parameter(c["gamma"]);
    bn.bias = Parameter(c["beta"]);
    bn.running_mean.copy_from(c["running_mean"]);
    bn.running_var.copy_from(c["running_var"]);
    Tape tape;
    const Tensor y = bn(x);
    const double tolerance = c.dtype == f32 ? 1e-5 : 1e-12;  // f32: of the op's statistics; the rest is f64
    EXPECT_TRUE(close(y, c["y"], tolerance));
    EXPECT_TRUE(close(bn.running_mean, c["new_running_mean"].to(f64), tolerance));
    EXPECT_TRUE(close(bn.running_var, c["new_running_var"].to(f64), tolerance));
    EXPECT_EQ(bn.num_batches_tracked.item(), 1);
    EXPECT_EQ(tape.entries().size(), 1u) << "the update must not be recorded";
  });
  for_each_case("norm", "batch_norm_eval", [](const GoldenCase& c) {
    Norm bn = BatchNorm(c["x"].dim(-1), {.eps = c.attrs["eps"]});
    bn.weight = Parameter(c["gamma"]);
    bn.bias = Parameter(c["beta"]);
    bn.running_mean.copy_from(c["running_mean"]);
    bn.running_var.copy_from(c["running_var"]);
    bn.eval();
    EXPECT_TRUE(close(bn(c["x"]), c["y"], c.dtype == f32 ? 1e-5 : 1e-12));
  });
}

TEST(BatchNorm, OnlyATrainingPassUpdates) {
  Norm bn = BatchNorm(3);
  const Tensor x = rand({5, 3}), mean = bn.running_mean.clone(), var = bn.running_var.clone();
  const auto unchanged = [&] {
    return same_bits(bn.running_mean, mean) && same_bits(bn.running_var, var) && bn.num_batches_tracked.item() == 0;
  };
  bn(x);
  EXPECT_TRUE(unchanged()) << "no tape";
  {
    Tape tape;
    bn.eval();
    bn(x);
    EXPECT_TRUE(unchanged()) << "evaluation";
    bn.train();
    const NoGrad unrecorded;
    bn(x);
    EXPECT_TRUE(unchanged()) << "under NoGrad";
  }
  Tape tape;
  bn(x);
  EXPECT_FALSE(unchanged());
}

TEST(BatchNorm, WithoutAffineHasBuffersOnly) {
  Norm bn = BatchNorm(3, {.affine = false});
  EXPECT_TRUE(bn.parameters().empty());
  EXPECT_EQ(bn.state_dict().size(), 3u);
  const Tensor x = rand({4, 2, 2, 3});
  EXPECT_TRUE(same_bits(bn(x), norm(x, whole(), {}, {}, {})));
  expect_error([&] { bn(ones({2, 4})); }, "[BatchNorm] wants [N, ..., 3]: input [2, 4]");
  expect_error([] { BatchNorm(3, {.momentum = 2}); }, "[Norm] a momentum of 2");
}

// Gradients through a whole model, of its parameters as of its input.
TEST(Layers, GradientsOfAModelMatchFiniteDifferences) {
  manual_seed(2);
  Sequential net(Conv2d(2, 3, 3, {.padding = 1}), BatchNorm(3), Tanh(), AvgPool2d(2), Flatten(), Linear(3 * 2 * 1, 4));
  net.to(f64);
  std::vector<Tensor> inputs = {random({3, 4, 2, 2})};
  for (const Tensor& p : net.parameters()) inputs.push_back(p);
  const auto f = [&](const std::vector<Tensor>& in) {
    size_t next = 1;
    net.for_each([&](const std::string&, Module& m) {
      Visitor own;
      m.visit(own);
      for (auto& [_, p] : own.parameters)
        if (p->defined()) static_cast<Tensor&>(*p) = in[next++];
    });
    return net(in[0]);
  };
  const auto result = gradcheck(f, inputs);
  EXPECT_TRUE(result) << result.message;
}

// What was set after construction is checked where it is used: by the ops, and what they cannot see by the layer.
TEST(Layers, SettingsMayBeAssignedAndAreChecked) {
  const Tensor x = ones({1, 4, 4, 2});
  Dropout drop(0.5);
  for (double p : {1., 2., -0.5, double{NAN}}) {
    drop.p = p;
    expect_error([&] { drop(x); }, fmt::format("[Dropout] a probability of {}", p));
    drop.eval();
    expect_error([&] { drop(x); }, fmt::format("[Dropout] a probability of {}", p));
    drop.train();
  }
  drop.p = 0.5;
  drop.generator = nullptr;
  expect_error([&] { drop(x); }, "[Dropout] no generator");
  LeakyReLU leaky;
  leaky.slope = NAN;
  expect_error([&] { leaky(x); }, "[LeakyReLU] a slope of nan");
  PReLU slopes(3);
  expect_error([&] { slopes(zeros({5, 2})); }, "[PReLU] 3 slopes for [5, 2]");
  expect_error([&] { slopes(zeros({5, 1})); }, "[PReLU] 3 slopes for [5, 1]");
  expect_error([] { PReLU none(-1); }, "-1");
  Sequential fused(BatchNorm(2), LeakyReLU(NAN));
  expect_error([&] { fused(x); }, "[LeakyReLU] a slope of nan");
  Conv2d conv(2, 4, 3);
  conv.options.groups = 2;
  expect_error([&] { conv(x); }, "[conv2d]");
  conv.options = {.stride = 0};
  expect_error([&] { conv(x); }, "[conv2d]");
  Linear fc(2, 3);
  fc.weight = Parameter(ones({3}));
  expect_error([&] { fc(x); }, "[linear]");
  ConvTranspose2d up(2, 4, 3);
  up.options.output_padding = 9;
  expect_error([&] { up(x); }, "[conv_transpose2d]");
  MaxPool2d pool(2);
  pool.options.kernel = 0;
  expect_error([&] { pool(x); }, "[max_pool2d]");
  AvgPool2d average(2);
  average.options.padding = -1;
  expect_error([&] { average(x); }, "[avg_pool2d]");
  Upsample larger(2);
  larger.scale = 0;
  expect_error([&] { larger(x); }, "[interpolate]");
  Softmax over;
  over.axis = 7;
  expect_error([&] { over(x); }, "[softmax]");
  expect_error([] { Linear(int64_t{1} << 32, int64_t{1} << 32); }, "is too large");
}

}  // namespace
}  // namespace norma::nn
