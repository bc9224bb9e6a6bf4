// The laboratory's bench: runs that start and go on alike, and measuring that changes nothing.
#include "examples/common/lab.h"

#include <gtest/gtest.h>

#include "examples/common/digits.h"

namespace examples {
namespace {

struct LabTest : ::testing::Test {
  LabTest() : lab{draw_digits(300, 1), draw_digits(100, 2), {}} { lab.scale = data::channel_stats(lab.train.images); }

  static std::vector<float> state(examples::Run& run) {
    std::vector<float> all;
    for (const auto& [_, value] : run.model.state_dict())
      for (const float v : value.to_vector<float>()) all.push_back(v);
    return all;
  }
  static nn::Norm batch_norm(int64_t channels) { return nn::BatchNorm(channels); }
  static nn::Norm group_norm(int64_t channels) { return nn::GroupNorm(4, channels); }

  Lab lab;
  const Recipe recipe{.epochs = 3, .batch = 50};
};

TEST_F(LabTest, ARunOfOneSeedStartsAlikeWithAnyNormAndLearns) {
  examples::Run a(lab, 7, batch_norm), b(lab, 7, group_norm), c(lab, 8, batch_norm);
  const auto first_weights = [](examples::Run& run) { return run.model.parameters()[0].to_vector<float>(); };
  EXPECT_EQ(first_weights(a), first_weights(b));
  EXPECT_NE(first_weights(a), first_weights(c));
  const Recipe longer{.epochs = 15, .batch = 50};
  train(lab, a, lab.train, longer);
  EXPECT_EQ(a.step, 90);
  EXPECT_EQ(steps(lab.train, recipe), 18);
  estimate(lab, a.model, lab.train, 1);
  EXPECT_LT(error(lab, a.model, lab.test), 70);
}

TEST_F(LabTest, MayHaveAResNet20) {
  lab.resnet20 = true;
  const auto activated = [](examples::Run& run) {  // of how many norms, how many
    std::pair<int, int> count;
    nn::for_each_norm(run.model, [&](const std::string&, nn::Norm& norm) {
      ++count.first;
      count.second += norm.activation.kind == Activation::Kind::relu;
    });
    return count;
  };
  examples::Run a(lab, 7, batch_norm), b(lab, 7, [](int64_t c) { return nn::FilterResponseNorm(c); });
  EXPECT_EQ(activated(a), std::pair(21, 19));  // not behind the two projections
  EXPECT_EQ(activated(b), std::pair(21, 0));   // whose threshold is their activation
  train(lab, a, lab.train, recipe, 3);
  EXPECT_EQ(a.step, 3);
  EXPECT_EQ(lab.choose(1, 2, 3), 3);
  lab.quick = true;
  EXPECT_EQ(lab.choose(1, 2, 3), 1);
  lab.resnet20 = lab.quick = false;
  EXPECT_EQ(lab.choose(1, 2, 3), 2);
}

TEST_F(LabTest, ARestoredRunGoesOnToTheSameBits) {
  examples::Run run(lab, 1, batch_norm);
  train(lab, run, lab.train, recipe, 11);  // in the middle of an epoch
  const Snapshot snapshot(run);
  const std::vector<float> then = state(run);
  train(lab, run, lab.train, recipe);
  const std::vector<float> end = state(run);
  EXPECT_NE(then, end);
  snapshot.restore(run);
  EXPECT_EQ(run.step, 11);
  EXPECT_EQ(state(run), then);
  train(lab, run, lab.train, recipe);
  EXPECT_EQ(state(run), end);
}

TEST_F(LabTest, MeasuringAnErrorChangesNothing) {
  examples::Run run(lab, 1, [](int64_t channels) { return nn::BatchNorm(channels, {.normalization_batch = 10}); });
  train(lab, run, lab.train, recipe, 5);
  const std::vector<float> before = state(run);
  const double by_population = error(lab, run.model, lab.test);
  const double by_batch = error(lab, run.model, lab.test, By::mini_batch);
  EXPECT_NE(by_population, by_batch);
  EXPECT_EQ(state(run), before);
  EXPECT_TRUE(run.model.is_training());
  EXPECT_EQ(error(lab, run.model, lab.test), by_population);
  // By mini-batches it is the norms' own grouping that counts.
  nn::for_each_norm(run.model, [](const std::string&, nn::Norm& norm) { norm.grouping = whole(); });
  EXPECT_NE(error(lab, run.model, lab.test, By::mini_batch), by_batch);
}

TEST_F(LabTest, OrdersHoldEachSampleOnceAndRunsStayTogether) {
  Generator random(1);
  for (const Order& order : {Order(shuffled), shuffled_runs(16)}) {
    std::vector<int64_t> indices = order(lab.train, random);
    EXPECT_FALSE(std::is_sorted(indices.begin(), indices.end()));
    std::sort(indices.begin(), indices.end());
    for (int64_t i = 0; i < 300; ++i) ASSERT_EQ(indices[static_cast<size_t>(i)], i);
  }
  const std::vector<int64_t> runs = shuffled_runs(16)(lab.train, random);
  int breaks = 0;
  for (size_t i = 1; i < runs.size(); ++i) breaks += runs[i] != runs[i - 1] + 1;
  EXPECT_LE(breaks, 18);  // 19 runs, the last of them shorter
}

}  // namespace
}  // namespace examples
