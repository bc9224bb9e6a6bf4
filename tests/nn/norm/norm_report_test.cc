// The report on a small network trained on drawn digits, with normalization batches of 2 and of 128, and its verdicts.
#include "norma/nn/norm/norm_report.h"

#include "examples/common/digits.h"
#include "norma/nn/layers.h"
#include "norma/nn/sequential.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;
using data::DataLoader;

class Report : public ::testing::Test {
 protected:
  // Convolution, norm, pooling, twice: as the network of the mnist example, only smaller.
  static Sequential trained(int64_t normalization_batch, int epochs = 4) {
    manual_seed(1);
    const auto norm = [&](int64_t channels) {
      return BatchNorm(channels, {.normalization_batch = normalization_batch});
    };
    Sequential net(Conv2d(1, 8, 3, {.padding = 1}, {.bias = false}), norm(8), ReLU(), MaxPool2d(2),
                   Conv2d(8, 16, 3, {.padding = 1}, {.bias = false}), norm(16), ReLU(), MaxPool2d(2), Flatten(),
                   Linear(16 * 7 * 7, 10));
    DataLoader loader(digits(), {.batch = 128, .shuffle = true});
    const OneCycleLR schedule{.max_lr = 0.01, .steps = epochs * loader.batches(), .up = 0.2};
    AdamW optimizer(net, {});
    int64_t step = 0;
    for (int epoch = 0; epoch < epochs; ++epoch)
      for (const data::Batch& batch : loader) {
        optimizer.set_lr(schedule(step++));
        optimizer.zero_grad();
        Tape tape;
        tape.backward(cross_entropy(net(batch.images), batch.labels));
        optimizer.step();
      }
    return net;
  }
  static const data::ImageDataset& digits() {
    static const data::ImageDataset set = examples::draw_digits(2048, 1);
    return set;
  }
  DataLoader loader{digits(), {.batch = 128, .shuffle = true}};
};

TEST_F(Report, SaysThatSmallNormalizationBatchesMakeTrainingAndTestInconsistent) {
  Sequential small = trained(2), large = trained(128);
  const NormReport of_small = norm_report(small, loader), of_large = norm_report(large, loader);
  fmt::print("bn:2\n{}\nbn:128\n{}", of_small.str(), of_large.str());
  EXPECT_GT(of_small.inconsistency(), kLargeKl);
  EXPECT_LT(of_large.inconsistency(), kSmallKl);
  ASSERT_EQ(of_small.layers.size(), 2u);
  for (const auto& layer : of_small.layers) {
    EXPECT_GE(layer.worst, layer.kl);
    EXPECT_EQ(layer.shuffled, layer.noise);
    EXPECT_FALSE(layer.not_iid() || layer.stale());
  }
  EXPECT_EQ(of_small.layers[0].verdict(), "train and test inconsistent; normalization batch too small");
  for (const auto& layer : of_large.layers) {
    EXPECT_EQ(layer.verdict(), "good");
    EXPECT_NEAR(layer.effective_samples, 19 * 128, 128);
  }
  EXPECT_NE(of_small.str().find("train-test inconsistency: large"), std::string::npos);
  EXPECT_NE(of_large.str().find("train-test inconsistency: small"), std::string::npos);
}

// What the measure means: statistics of M independent Gaussian values are 1 / M away on average.
TEST_F(Report, MeasuresOneOverTheNumberOfIndependentValues) {
  Norm norm = BatchNorm(1);
  norm.grouping = chunks(1);
  data::ImageDataset set{"noise", Tensor({2048, 5, 10, 1}, u8), zeros({2048}, i64), {"none"}};
  Generator generator(3);
  set.images.copy_from((randn({2048, 5, 10, 1}, generator) * 30 + 128));
  const DataLoader noise(set, {.batch = 64, .shuffle = true});
  const NormReport report = norm_report(norm, noise, {.samples = 0});
  const NormReport::Layer& layer = report.layers.at(0);
  EXPECT_NEAR(layer.noise * 50, 1, 0.1);
  EXPECT_NEAR(layer.lag, 0, 1e-3);  // the data set is normalized: mean 0, variance 1
  EXPECT_EQ(layer.effective_samples, 0);
}

TEST_F(Report, SaysThatAnAverageIsStale) {
  Sequential net = trained(0, 1);
  for_each_norm(net, [](const std::string&, Norm& norm) { norm.reset_population(); });
  for (const auto& layer : norm_report(net, loader).layers) {
    EXPECT_EQ(layer.effective_samples, 0);
    EXPECT_TRUE(layer.stale() && layer.inconsistent()) << layer.path;
    EXPECT_FALSE(layer.batch_too_small());
    EXPECT_EQ(layer.verdict(), "train and test inconsistent; population does not fit");
  }
  precise_bn(net, loader);
  for (const auto& layer : norm_report(net, loader).layers) EXPECT_LT(layer.lag, 1e-6) << layer.path;
}

TEST_F(Report, SaysThatBatchesAreNotIid) {
  Sequential net = trained(0, 1);
  // One half of the pictures is dim, and comes first.
  data::ImageDataset set = digits().first(1024);
  const Tensor is_dim = lt(arange(1024), 512.0);
  set.images = where(reshape(is_dim, {1024, 1, 1, 1}), (set.images.to(f32) * 0.5).to(u8), set.images);
  const DataLoader in_order(set, {.batch = 64, .normalize = set.statistics()}),
      shuffled(set, {.batch = 64, .shuffle = true});
  const NormReport one = norm_report(net, in_order), other = norm_report(net, shuffled);
  EXPECT_TRUE(one.layers[1].not_iid()) << one.str();
  EXPECT_FALSE(other.layers[1].not_iid()) << other.str();
  EXPECT_NEAR(one.layers[1].shuffled, other.layers[1].shuffled, 1e-3);
  // Where it is known which is which, the parts of a batch are seen to differ however they are served.
  const NormReport labelled = norm_report(net, shuffled, {.domains = is_dim.to(i64)});
  EXPECT_TRUE(labelled.layers[1].not_iid()) << labelled.str();
  EXPECT_NE(labelled.str().find("batches not i.i.d."), std::string::npos);
  Generator generator(1);
  const Tensor anything = lt(rand({1024}, generator), 0.5).to(i64);
  EXPECT_FALSE(norm_report(net, shuffled, {.domains = anything}).layers[1].not_iid());
}

TEST_F(Report, CountsTheStepsOfAPlainAverage) {
  Norm norm(1, {.grouping = whole(), .estimator = Estimator::cumulative()});
  norm.num_batches_tracked.fill(7);
  const NormReport report = norm_report(norm, loader, {.samples = 256});
  EXPECT_EQ(report.layers.at(0).effective_samples, 7 * 128);
}

TEST_F(Report, TellsOfFrozenLayersToo) {
  Norm norm = FrozenBatchNorm(1);
  norm.running_mean.fill(1);  // where the pictures, as they come from the loader, have a mean of 0 and a variance of 1
  const NormReport report = norm_report(norm, loader, {.samples = 256});
  const NormReport::Layer& layer = report.layers.at(0);
  EXPECT_EQ(layer.effective_samples, 0);
  EXPECT_NEAR(layer.kl, 0.5, 0.05);
  EXPECT_EQ(layer.verdict(), "train and test inconsistent; population does not fit");
}

TEST_F(Report, ChangesNothing) {
  Sequential net = trained(0, 1);
  net[5].eval();
  NamedTensors before;
  for (const auto& [name, x] : net.state_dict()) before.emplace_back(name, x.clone());
  const Generator::State state = default_generator().state();
  const auto position = loader.position();
  norm_report(net, loader);
  const NamedTensors after = net.state_dict();
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(same_bits(before[i].second, after[i].second));
  EXPECT_EQ(default_generator().state(), state);
  EXPECT_EQ(loader.position(), position);
  EXPECT_FALSE(net[5].is_training());
  EXPECT_TRUE(net[1].is_training());
}

}  // namespace
}  // namespace norma::nn
