// The table of a model, and that making it leaves no trace.
#include "norma/nn/summary.h"

#include "norma/nn/layers.h"
#include "norma/nn/sequential.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

struct Net : Module {
  Sequential features{Conv2d(1, 32, 3, {.padding = 1}), BatchNorm(32), ReLU(), MaxPool2d(2)};
  Linear fc{32 * 4 * 3, 10}, unused{3, 2};
  NORMA_VISIT(features, fc, unused)
  Tensor forward(const Tensor& x) override { return fc(dropout(flatten(features(x)), 0.5)); }
};

TEST(Summary, IsATable) {
  Net net;
  net.unused.weight.set_requires_grad(false);
  net.features[1].eval();
  const Generator::State random = default_generator().state();
  const std::string want =
      "module      type        output         parameters\n"
      "(model)     Net         [2, 10]                 -\n"
      "features    Sequential  [2, 4, 3, 32]           -\n"
      "features.0  Conv2d      [2, 8, 6, 32]         320\n"
      "features.1  BatchNorm   [2, 8, 6, 32]          64\n"
      "features.2  ReLU        [2, 8, 6, 32]           -\n"
      "features.3  MaxPool2d   [2, 4, 3, 32]           -\n"
      "fc          Linear      [2, 10]              3850\n"
      "unused      Linear      -                       8\n"
      "4242 parameters, 4236 of them trained, 16968 bytes\n";
  Tape tape;
  EXPECT_EQ(summary(net, {2, 8, 6, 1}), want);
  EXPECT_TRUE(tape.entries().empty());
  EXPECT_EQ(default_generator().state(), random);
  EXPECT_TRUE(net.is_training() && net.fc.is_training() && !net.features[1].is_training());
  EXPECT_EQ(net.named_buffers()[2].second.item(), 0) << "num_batches_tracked";
  expect_error([&] { summary(net, {2, 8, 6, 3}); }, "[conv2d]");
  EXPECT_TRUE(net.is_training());
}

}  // namespace
}  // namespace norma::nn
