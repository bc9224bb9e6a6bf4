// WeightAverage: the exponential average and the mean, what is kept of it, errors.
#include "norma/nn/optim/weight_average.h"

#include "norma/nn/layers.h"
#include "norma/nn/norm/population.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

TEST(WeightAverage, FollowsTheWeights) {
  for (bool warm_up : {true, false}) {
    Linear model(2, 1), mean(2, 1);
    WeightAverage average(model, mean, {.decay = 0.5, .warm_up = warm_up});
    EXPECT_TRUE(same_bits(mean.weight, model.weight));
    EXPECT_NE(mean.weight.identity(), model.weight.identity());
    double want = mean.weight.at({0, 0});
    for (int step = 1; step <= 20; ++step) {
      model.weight.fill(step);
      average.update();
      const double decay = warm_up ? std::min(0.5, step / (step + 9.)) : 0.5;
      want = decay * want + (1 - decay) * step;
      EXPECT_NEAR(mean.weight.at({0, 0}), want, 1e-5);
    }
    EXPECT_EQ(average.n_averaged.item(), 20);
    EXPECT_FALSE(mean.weight.grad().defined());
  }
}

TEST(WeightAverage, RoundsAsTheFormulaOfOps) {
  Linear model(5, 3), mean(5, 3);
  WeightAverage average(model, mean, {.decay = 0.995});
  Generator g(1);
  for (int n = 1; n <= 3; ++n) {
    g.fill_normal(model.weight);
    const double decay = std::min(0.995, n / (n + 9.));
    const Tensor want = mean.weight.clone() + (model.weight.detach() - mean.weight.clone()) * (1 - decay);
    average.update();
    EXPECT_TRUE(same_bits(mean.weight, want)) << n;
  }
}

TEST(WeightAverage, WithoutADecayIsTheMeanOfTheUpdates) {
  Linear model(2, 1), mean(2, 1);
  WeightAverage average(model, mean);
  Generator g(1);
  Tensor sum = zeros({1, 2}, f64);
  for (int n = 1; n <= 10; ++n) {
    g.fill_normal(model.weight);
    sum = sum + model.weight.to(f64);
    average.update();
    EXPECT_TRUE(close(mean.weight, sum / n, 1e-6));
    EXPECT_TRUE(n > 1 || same_bits(mean.weight, model.weight)) << "whatever it began with";
  }
}

TEST(WeightAverage, IsAModuleOfTheAverageAndItsCount) {
  Linear model(2, 1), mean(2, 1);
  WeightAverage average(model, mean, {.decay = 0.9});
  std::vector<std::string> names;
  for (const auto& [name, x] : average.state_dict()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"n_averaged", "module.weight", "module.bias"}));
  const Tensor x = ones({1, 2});
  EXPECT_TRUE(same_bits(average(x), mean(x)));
  average.eval();
  EXPECT_FALSE(mean.is_training());
}

TEST(WeightAverage, CopiesBuffersOnceAndThenLeavesThem) {
  Norm model = BatchNorm(2), mean = BatchNorm(2);
  model.running_mean.fill(3);
  WeightAverage average(model, mean, {.decay = 0.9});
  EXPECT_EQ(mean.running_mean.at({0}), 3);
  model.running_mean.fill(5);
  average.update();
  EXPECT_EQ(mean.running_mean.at({0}), 3);
}

TEST(WeightAverage, RejectsNonsense) {
  Linear model(2, 1), mean(2, 1), wide(3, 1);
  const Tensor before = mean.weight.clone();
  for (double decay : {1., -0.5, double{NAN}})
    expect_error([&] { WeightAverage(model, mean, {.decay = decay}); },
                 fmt::format("[WeightAverage] a decay of {}: want one in [0, 1)", decay));
  EXPECT_TRUE(same_bits(mean.weight, before));
  expect_error([&] { WeightAverage(model, wide); },
               "[WeightAverage] does not fit the average:\n  weight: shape [1, 2], the average has [1, 3]");
  expect_error([&] { WeightAverage(model, model); }, "share elements: list each once");
  struct Pair : Module {
    Linear a{2, 2}, b{2, 2};
    NORMA_VISIT(a, b)
  } apart, tied;
  tied.b.weight = tied.a.weight;
  apart.b.weight.copy_from(apart.a.weight);
  expect_error([&] { WeightAverage(apart, tied); }, "[WeightAverage] 4 parameters, and 3 to be their averages");
  WeightAverage average(model, mean);
  average.n_averaged.fill(-1);
  expect_error([&] { average.update(); }, "[WeightAverage] n_averaged is -1: want a count");
}

}  // namespace
}  // namespace norma::nn
