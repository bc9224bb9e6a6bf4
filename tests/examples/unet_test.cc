// The network of examples/denoise.
#include "examples/denoise/unet.h"

#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::test;

TEST(UNet, ItsBlockIsHiNets) {
  manual_seed(1);
  UNetBlock block(3, 5, nn::HalfInstanceNorm(5));
  block.to(f64);
  const Tensor x = random({2, 6, 7, 3});
  const auto conv = [&](const Tensor& y, const nn::Conv2d& layer, int64_t padding) {
    return conv2d(y, layer.weight, layer.bias, {.padding = padding});
  };
  const Tensor y = conv(x, block.conv1, 1), half = slice(y, 3, 0, 3);
  const Tensor normalized = (half - mean(half, {1, 2}, true)) / sqrt(var(half, {1, 2}, 0, true) + 1e-5);
  const Tensor z = leaky_relu(concat({normalized, slice(y, 3, 3, 5)}, 3), 0.2);
  EXPECT_TRUE(close(block(x), leaky_relu(conv(z, block.conv2, 1), 0.2) + conv(x, block.shortcut, 0)));
}

// Of any size: as if the picture were filled up with zeros on the right and below, and cut afterwards.
TEST(UNet, TakesSizesThatDoNotHalve) {
  manual_seed(2);
  UNet model(2, parse_norm("none"), 4);
  const Tensor x = rand({2, 9, 14, 2});
  const Tensor filled = pad(x, {{0, 0}, {0, 3}, {0, 2}, {0, 0}});
  EXPECT_TRUE(close(model(x), slice(slice(model(filled), 1, 0, 9), 2, 0, 14)));
  for (int64_t h : {1, 4, 5}) EXPECT_EQ(model(rand({1, h, 8, 2})).shape(), (Shape{1, h, 8, 2}));
  EXPECT_EQ(model(rand({0, 8, 8, 2})).shape(), (Shape{0, 8, 8, 2}));
}

TEST(UNet, TrainsEveryParameterWithAnyNorm) {
  for (const char* name : {"none", "bn", "in", "hin", "gn:4", "ln", "ws+gn:2"}) {
    SCOPED_TRACE(name);
    manual_seed(3);
    UNet model(1, parse_norm(name), 4);
    const Tensor x = rand({3, 12, 12, 1}), target = rand({3, 12, 12, 1});
    Tape tape;
    tape.backward(mse(model(x), target));
    for (const auto& [path, parameter] : model.named_parameters())
      EXPECT_TRUE(parameter.grad().defined() && max(abs(parameter.grad())).item() > 0) << path;
  }
}

}  // namespace
}  // namespace examples
