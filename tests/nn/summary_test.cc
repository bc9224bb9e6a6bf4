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

// Of tokens and a mask, integers and bools, whose module has an operator() of its own.
struct Tagger : Module {
  Parameter table{ones({7, 4})};
  Linear out{4, 3};
  NORMA_VISIT(table, out)
  Tensor operator()(const Tensor& ids, const Tensor& mask) { return out(index_select(table, 0, ids)) * mask.to(f32); }
};

TEST(Summary, TakesAPassOrAnyInputs) {
  Tagger tagger;
  const Tensor ids = zeros({5}, i64), mask = ones({5, 1}, boolean);
  const std::string want =
      "module   type    output  parameters\n"
      "(model)  Tagger  -               28\n"
      "out      Linear  [5, 3]          15\n"
      "43 parameters, 43 of them trained, 172 bytes\n";
  Tape tape;
  EXPECT_EQ(summary(tagger, ids, mask), want);
  EXPECT_EQ(summary(tagger, [&] { tagger(ids, mask); }), want);
  EXPECT_TRUE(tape.entries().empty());
  EXPECT_TRUE(tagger.out.is_training());
  Net net;
  EXPECT_EQ(summary(net, zeros({2, 8, 6, 1})), summary(net, {2, 8, 6, 1}));
  expect_error([&] { summary(tagger, std::function<void()>()); }, "[summary] an empty function");
  expect_error([&] { summary(tagger, Shape{5}); }, "[Tagger] has no forward(x) of one tensor");
}

}  // namespace
}  // namespace norma::nn
