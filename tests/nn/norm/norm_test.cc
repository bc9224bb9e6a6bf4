// The normalization layer: what it does in training and in evaluation, and how its population moves.
#include "norma/nn/norm/norm.h"

#include "norma/nn/layers.h"
#include "norma/nn/sequential.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

Tensor batch(uint64_t seed, const Shape& shape = {8, 3, 3, 4}) { return random(shape, seed).to(f32); }

void train_on(Norm& norm, const Tensor& x) {
  Tape tape;
  norm(x);
}

TEST(Norm, ConfiguredLayersNormalizeAsTheirGroupingsSay) {
  const Tensor x = batch(1);
  const auto same = [&](Norm layer, const Tensor& want) { return same_bits(layer(x), want); };
  EXPECT_TRUE(same(BatchNorm(4), norm(x, whole(), {}, {}, {})));
  EXPECT_TRUE(same(BatchNorm(4, {.normalization_batch = 2}), norm(x, chunks(2), {}, {}, {})));
  EXPECT_TRUE(same(GroupNorm(2, 4), norm(x, groups(2), {}, {}, {})));
  EXPECT_TRUE(same(LayerNorm(4), norm(x, features(), {}, {}, {})));
  EXPECT_TRUE(same(LayerNorm(4, LayerNormOver::sample), norm(x, layer(), {}, {}, {})));
  EXPECT_TRUE(same(InstanceNorm(4), norm(x, instance(), {}, {}, {})));
  EXPECT_TRUE(same(HalfInstanceNorm(4), norm(x, instance(), {}, {}, {}, {.normalized_channels = 2})));
  EXPECT_TRUE(same(RMSNorm(4), norm(x, features(), {}, {}, {}, {.eps = 1e-6, .center = false})));
  EXPECT_TRUE(same(FrozenBatchNorm(4), norm(x, whole(), Statistics::given(zeros({4}), ones({4})), {}, {})));
}

TEST(Norm, OfAConvolutionIsTheSameAsBehindIt) {
  const Tensor x = random({4, 9, 9, 8}, 1).to(f32), residual = random({4, 9, 9, 16}, 2).to(f32);
  for (const bool bias : {false, true})
    for (int kind = 0; kind < 7; ++kind) {
      Conv2d conv(8, 16, 3, {.padding = 1}, {bias});
      conv.standardized = kind == 0;
      Norm norm = kind < 2    ? BatchNorm(16)
                  : kind == 2 ? BatchNorm(16, {.normalization_batch = 2})
                  : kind == 3 ? GroupNorm(4, 16)
                  : kind == 4 ? BatchRenorm(16)
                  : kind == 5 ? FrozenBatchNorm(16)
                              : Norm(16, {.identity = true});
      SCOPED_TRACE(fmt::format("{} {}", kind, norm.type()));
      norm.activation = Activation::relu();
      train_on(norm, residual);  // a population of its own
      for (const bool training : {true, false}) {
        conv.train(training);
        norm.train(training);
        EXPECT_TRUE(same_bits(norm(conv, x), norm(conv(x)))) << training;
        EXPECT_TRUE(same_bits(norm(conv, x, residual), norm(conv(x), residual))) << training;
      }
      norm.evaluation = EvalStatistics::mini_batch;
      EXPECT_TRUE(same_bits(norm(conv, x), norm(conv(x))));
      norm.evaluation = EvalStatistics::population;
      std::vector<std::string> told;
      const Observer observer([&](Module& module, const Tensor&, const Tensor&) { told.push_back(module.type()); });
      norm(conv, x);
      EXPECT_EQ(told, (std::vector<std::string>{"Conv2d", norm.type()}));
    }
}

TEST(Norm, OnlyLayersOverSamplesKeepAPopulation) {
  EXPECT_EQ(BatchNorm(4).state_dict().size(), 5u);
  EXPECT_EQ(GroupNorm(2, 4).state_dict().size(), 2u);
  EXPECT_EQ(RMSNorm(4).state_dict().size(), 1u);
  EXPECT_EQ(InstanceNorm(4, false).state_dict().size(), 0u);
}

TEST(Norm, AStepWithSeveralCellsMakesOneUpdateFromTheirMeans) {
  Norm ghost = BatchNorm(4, {.momentum = 1, .normalization_batch = 4});
  const Tensor x = batch(1);
  train_on(ghost, x);
  const Moments cells = moments(x, chunks(4));
  EXPECT_EQ(ghost.num_batches_tracked.item(), 1);
  EXPECT_TRUE(close(ghost.running_mean, mean(cells.mean, {0})));
  EXPECT_TRUE(close(ghost.running_var, mean(cells.var(1), {0})));
}

TEST(Norm, EmaWeighsAndCumulativeAverages) {
  Norm ema = BatchNorm(4, {.momentum = 0.25}), cumulative = BatchNorm(4);
  cumulative.estimator = Estimator::cumulative();
  Tensor weighed = zeros({4}, f64), sum = zeros({4}, f64);
  for (uint64_t step = 1; step <= 3; ++step) {
    const Tensor x = batch(step), m = view::reshape(moments(x, whole()).mean, {4});
    train_on(ema, x);
    train_on(cumulative, x);
    weighed = weighed * 0.75 + m * 0.25;
    sum = sum + m;
  }
  EXPECT_TRUE(close(ema.running_mean, weighed));
  EXPECT_TRUE(close(cumulative.running_mean, sum / 3));
}

TEST(Norm, EvaluatesABatchOfAnySizeWithThePopulationOrByChoiceTheMiniBatch) {
  Norm ghost = BatchNorm(4, {.normalization_batch = 2});
  train_on(ghost, batch(1));
  ghost.eval();
  const Tensor all = batch(2), one = view::slice(all, 0, 0, 1).clone();
  EXPECT_TRUE(same_bits(ghost(one), view::slice(ghost(all), 0, 0, 1)));  // no sample depends on another
  EXPECT_NO_THROW(ghost(batch(3, {1, 4})));
  ghost.evaluation = EvalStatistics::mini_batch;
  EXPECT_TRUE(same_bits(ghost(all), norm(all, whole(), {}, {}, {})));
  EXPECT_EQ(ghost.num_batches_tracked.item(), 1);
}

TEST(Norm, RenormStartsAtThePopulationAndFollowsIt) {
  Norm renorm = BatchRenorm(4, 1, 0);  // r = 1, d = 0: batch norm
  const Tensor x = batch(1);
  EXPECT_TRUE(close(renorm(x), norm(x, whole(), {}, {}, {})));
  renorm.r_max = renorm.d_max = 1e9;  // no clipping: exactly the population
  EXPECT_TRUE(close(renorm(x), norm(x, whole(), Statistics::given(zeros({4}), ones({4})), {}, {}), 1e-5));
  train_on(renorm, x);
  EXPECT_EQ(renorm.num_batches_tracked.item(), 1);
}

TEST(Norm, FrozenLayersTrainTheirAffinePartOnly) {
  Norm frozen = FrozenBatchNorm(4);
  frozen.running_mean.fill(0.5);
  Tape tape;
  tape.backward(sum(frozen(batch(1)) * batch(2)));
  EXPECT_TRUE(frozen.weight.grad().defined());
  EXPECT_EQ(frozen.num_batches_tracked.item(), 0);
  EXPECT_EQ(frozen.running_mean.at({0}), 0.5);
}

// The statistics that a rule keeps are not those that the next step moves.
TEST(Norm, TwoStepsOnOneTapeBeforeTheSweep) {
  Norm renorm = BatchRenorm(4);
  Tape tape;
  const Tensor first = sum(renorm(batch(1)) * batch(2)), second = sum(renorm(batch(3)) * batch(2));
  tape.backward(first + second);
  EXPECT_EQ(renorm.num_batches_tracked.item(), 2);
}

TEST(Norm, AnyMemberOfAModelCanBeTurnedIntoAnotherNorm) {
  Sequential model(Conv2d(3, 8, 3), BatchNorm(8, {.activation = Activation::relu()}), Conv2d(8, 8, 1), BatchNorm(8));
  std::vector<std::string> paths;
  for_each_norm(model, [&](const std::string& path, Norm& norm) {
    paths.push_back(path + " " + norm.type());
    norm.grouping = groups(4);
    paths.push_back(norm.type());
  });
  EXPECT_EQ(paths, (std::vector<std::string>{"1 BatchNorm", "GroupNorm(4)", "3 BatchNorm", "GroupNorm(4)"}));
  const Tensor x = batch(1, {4, 5, 5, 3}), one = view::slice(x, 0, 0, 1).clone();
  EXPECT_TRUE(close(model(one), view::slice(model(x), 0, 0, 1)));  // no longer over samples
  for_each_norm(model, [](const std::string&, Norm& norm) { norm.grouping = chunks(2); });
  EXPECT_NO_THROW(model(x));
  Sequential grouped(Conv2d(3, 8, 3), GroupNorm(4, 8));
  static_cast<Norm&>(grouped[1]).grouping = whole();  // without a population so far
  grouped.eval();
  EXPECT_NO_THROW(grouped(one));
}

TEST(Norm, ResidualAndActivationAreFused) {
  Norm layer = BatchNorm(4, {.activation = Activation::relu()});
  const Tensor x = batch(1), skip = batch(2);
  EXPECT_TRUE(close(layer(x, skip), relu(norm(x, whole(), {}, {}, {}) + skip)));
}

// Each member of the family twice, with the pooling and before it: the same outputs, populations and moments.
TEST(Norm, MaxPoolIsBehindAllElse) {
  const Tensor x = batch(1, {8, 7, 5, 16}), skip = batch(2, x.shape());
  const auto make = [](int kind) {
    switch (kind) {
      case 0: return BatchNorm(16);
      case 1: return BatchNorm(16, {.normalization_batch = 3});
      case 2: return GroupNorm(4, 16);
      case 3: return LayerNorm(16);
      case 4: return InstanceNorm(16);
      case 5: return HalfInstanceNorm(16);
      case 6: return BatchRenorm(16);
      case 7: return FrozenBatchNorm(16);
      case 8: return DomainNorm(16, {.count = 2, .batch = false});
      default: return Norm(16, {.identity = true});
    }
  };
  for (int kind = 0; kind < 10; ++kind) {
    Norm pooled = make(kind), plain = make(kind);
    SCOPED_TRACE(plain.type());
    pooled.activation = plain.activation = Activation::leaky_relu(0.1);
    pooled.max_pool = {2, 3};
    pooled.ids = plain.ids = tensor<int64_t>({0, 1, 1, 0, 0, 1, 0, 1});
    Moments of_pooled, of_plain;
    for (int mode = 0; mode < 4; ++mode) {  // training, evaluation, and both with somebody who collects moments
      if (mode == 2) {
        pooled.collect = [&](const auto&, const Moments& m) { of_pooled = m; };
        plain.collect = [&](const auto&, const Moments& m) { of_plain = m; };
      }
      pooled.train(mode % 2 == 0);
      plain.train(mode % 2 == 0);
      Tape tape;
      EXPECT_TRUE(same_bits(pooled(x), max_pool2d(plain(x), {.kernel = {2, 3}})));
      EXPECT_TRUE(same_bits(pooled(x, skip), max_pool2d(plain(x, skip), {.kernel = {2, 3}})));
      if (plain.grouping.positions == Positions::all) {
        const std::vector<Tensor> both = {x, skip};
        EXPECT_TRUE(same_bits(pooled(both)[1], max_pool2d(plain(both)[1], {.kernel = {2, 3}})));
      }
      if (!plain.has_population()) continue;
      EXPECT_TRUE(same_bits(pooled.running_var, plain.running_var));
      EXPECT_TRUE(mode < 2 || same_bits(of_pooled.m2, of_plain.m2));
    }
  }
}

TEST(Norm, SeveralInputsShareStatistics) {
  Norm layer = BatchNorm(4, {.momentum = 1});
  const std::vector<Tensor> levels = {batch(1), batch(2, {8, 1, 1, 4})};
  Tape tape;
  layer(levels);
  EXPECT_TRUE(close(layer.running_mean, view::reshape(moments(levels, whole()).mean, {4})));
}

TEST(Norm, TheIdentityKeepsActivationAndResidual) {
  Norm none(4, {.activation = Activation::leaky_relu(0.1), .identity = true});
  EXPECT_TRUE(none.state_dict().empty());
  const Tensor x = batch(1), skip = batch(2);
  EXPECT_TRUE(same_bits(none(x, skip), leaky_relu(x + skip, 0.1)));
  EXPECT_TRUE(same_bits(none(std::vector<Tensor>{x, skip})[1], leaky_relu(skip, 0.1)));
  none.activation = {};
  EXPECT_TRUE(same_bits(none(x), x));
  expect_error([&] { none(ones({2, 3})); }, "[Identity] wants [N, ..., 4]: input [2, 3]");
}

TEST(Norm, RejectsNonsense) {
  expect_error([] { BatchNorm(0); }, "[Norm] 0 channels");
  expect_error([] { GroupNorm(3, 4); }, "[GroupNorm] 4 channels do not divide into 3 groups");
  expect_error([] { Norm(4, {.half = true}); }, "[Norm] half norm wants each x all x each");
  expect_error([] { GroupNorm(2, 4)(ones({2, 3})); }, "[GroupNorm(2)] wants [N, ..., 4]: input [2, 3]");
}

}  // namespace
}  // namespace norma::nn
