// Settings of nn::Norm that are changed after it was made, and the combinations that nothing else uses: norms over
// samples that subtract no mean, and threads that share a model.
#include <limits>
#include <thread>

#include "norma/nn/layers.h"
#include "norma/nn/norm/norm_report.h"
#include "norma/nn/norm/population.h"
#include "norma/nn/sequential.h"
#include "norma/ops/norm/conv2d_norm.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double rms(const Tensor& x) { return std::sqrt(mean(square(x.to(f64))).item()); }

// A norm over samples that divides by the root of the mean square. All estimates of the population are such, too.
TEST(NormWithoutCentering, EvaluatesAsItTrains) {
  const Tensor x = (random({64, 4, 4, 3}, 1) + 5).to(f32);
  const double square_mean = mean(square(x.to(f64))).item();
  for (const bool cumulative : {false, true})
    for (const Grouping& g : {whole(), chunks(8), Grouping{Samples::whole(), Positions::all, Channels::all()}}) {
      SCOPED_TRACE(g.str());
      Norm norm(
          3, {.grouping = g, .estimator = cumulative ? Estimator::cumulative() : Estimator::ema(1), .center = false});
      {
        Tape tape;
        EXPECT_NEAR(rms(norm(x)), 1, 1e-3);
      }
      EXPECT_TRUE(close(norm.running_mean, zeros_like(norm.running_mean)));
      EXPECT_NEAR(mean(norm.running_var).item() / square_mean, 1, 1e-6);
      norm.eval();
      EXPECT_NEAR(rms(norm(x)), 1, 2e-3);
      norm.evaluation = EvalStatistics::mini_batch;
      EXPECT_NEAR(rms(norm(x)), 1, 2e-3);
    }
}

TEST(NormWithoutCentering, FollowsCellsOfOneElement) {  // their mean square says something
  Norm norm(3, {.grouping = whole(), .estimator = Estimator::ema(1), .center = false});
  const Tensor x = tensor<float>({2, 3, -4}, {1, 3});
  Tape tape;
  norm(x);
  EXPECT_TRUE(close(norm.running_var, tensor<double>({4, 9, 16}, {3}), 1e-12));
}

TEST(NormWithoutCentering, PreciseFrozenFoldedAndReportedAlike) {
  const Tensor x = (random({40, 3}, 1) + 5).to(f32);
  for (const PreciseVariance variance : {PreciseVariance::merged, PreciseVariance::mean_of_variances}) {
    Sequential model(Linear(3, 4), Norm(4, {.grouping = whole(), .center = false}));
    auto& norm = dynamic_cast<Norm&>(model[1]);
    const Tensor before = model(x);
    PreciseOptions options;
    options.variance = variance;
    EXPECT_EQ(precise_bn(
                  model, [&] { model(view::slice(x, 0, 0, 10)), model(view::slice(x, 0, 10, 40)); }, options),
              1);
    EXPECT_TRUE(close(norm.running_mean, zeros({4}, f64)));
    model.eval();
    EXPECT_TRUE(close(model(x), before, 2e-3));
    EXPECT_NEAR(rms(model(x)), 1, 2e-3);

    const Tensor evaluated = model(x);
    freeze_bn(model);
    model.train();
    EXPECT_TRUE(close(model(x), evaluated, 1e-6));
    model.eval();
    EXPECT_EQ(fold_norm(model, x).count, 1);
    EXPECT_TRUE(close(model(x), evaluated, 1e-5));
  }
}

TEST(NormWithoutCentering, IsReportedByItsMeanSquare) {
  data::ImageDataset set{"noise", Tensor({512, 5, 10, 1}, u8), zeros({512}, i64), {"none"}};
  Generator generator(1);
  for (uint8_t& pixel : std::span(set.images.mutable_data<uint8_t>(), size_t{512 * 50}))
    pixel = static_cast<uint8_t>(150 + generator.below(100));
  data::DataLoader loader(set, {.batch = 128, .normalize = set.statistics()});
  Sequential model(Norm(1, {.grouping = whole(), .center = false}));
  EXPECT_EQ(precise_bn(model, loader), 1);
  const NormReport report = norm_report(model, loader);
  ASSERT_EQ(report.layers.size(), 1u);
  EXPECT_LT(report.layers[0].kl, 1e-3) << report.str();
  EXPECT_LT(report.layers[0].lag, 1e-6) << report.str();
}

TEST(NormWithoutCentering, DomainsAndCollectorsAreToldTheSame) {
  const Tensor x = (random({40, 3}, 1) + 5).to(f32);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 40; ++i) ids.push_back(i % 2);
  for (const bool batch : {false, true}) {
    Norm norm(3, {.grouping = whole(), .estimator = Estimator::ema(1), .center = false, .domains = {2, batch}});
    set_domains(norm, tensor(ids, {40}));
    {
      Tape tape;
      norm(x);
    }
    EXPECT_TRUE(close(norm.running_mean, zeros({2, 3}, f64)));
    EXPECT_NEAR(mean(norm.running_var).item(), mean(square(x.to(f64))).item(), 1e-6);
    for (const bool training : {false, true}) {
      norm.train(training);
      bool told = false;
      norm.collect = [&](const auto&, const Moments& m) {
        told = true;
        EXPECT_TRUE(close(m.mean, zeros_like(m.mean)));
      };
      norm(x);
      EXPECT_TRUE(told);
      norm.collect = nullptr;
    }
  }
}

TEST(NormWithoutCentering, RenormFollowsTheMeanSquare) {
  Norm norm(3, {.source = Statistics::Source::renorm, .estimator = Estimator::ema(1), .center = false});
  const Tensor x = (random({64, 3}, 1) + 5).to(f32);
  Tape tape;
  norm(x);
  EXPECT_NEAR(rms(norm(x)), 1, 1e-3);
  EXPECT_NEAR(mean(norm.running_var).item(), mean(square(x.to(f64))).item(), 1e-6);
}

// --- Settings that go wrong after the layer was made, in every mode.

void expect_checked(Norm& norm, const std::string& part, const Tensor& x = random({4, 3, 3, 4}, 1).to(f32)) {
  for (const bool training : {true, false}) {
    norm.train(training);
    expect_error([&] { norm(x); }, part);
    expect_error([&] { norm(x); }, norm.type());
  }
}

TEST(NormSettings, AreCheckedWhereTheyAreUsed) {
  for (const double momentum : {-0.1, 2., kNaN}) {
    Norm norm = BatchNorm(4);
    norm.estimator = Estimator::ema(momentum);
    expect_checked(norm, "momentum");
    EXPECT_TRUE(close(norm.running_var, ones({4}, f64)));
  }
  for (const double eps : {-2., kNaN, std::numeric_limits<double>::infinity()}) {
    Norm batch_norm = BatchNorm(4), group = GroupNorm(2, 4), rms_norm = RMSNorm(4), frozen = FrozenBatchNorm(4);
    for (Norm* norm : {&batch_norm, &group, &rms_norm, &frozen}) {
      norm->eps = eps;
      expect_checked(*norm, "eps");
    }
  }
  for (const auto& [r, d] : {std::pair(0.5, 5.), {3., -1.}, {kNaN, 5.}, {3., kNaN}}) {
    Norm norm = BatchRenorm(4);
    norm.r_max = r, norm.d_max = d;
    expect_checked(norm, "r_max");
  }
  Norm half = HalfInstanceNorm(4);
  half.grouping = whole();
  expect_checked(half, "half");
  Norm groups_of = GroupNorm(2, 4);
  groups_of.grouping = groups(3);
  expect_checked(groups_of, "groups");
  Norm negative = BatchNorm(4);
  negative.domains.count = -1;
  expect_checked(negative, "domains");
  Norm leaky = BatchNorm(4);
  leaky.activation = Activation::leaky_relu(kNaN);
  expect_checked(leaky, "slope");
  Norm pooled = BatchNorm(4);
  pooled.max_pool = Pair(0);
  expect_checked(pooled, "kernel [0, 0]");
  Norm single = BatchNorm(4);
  single.grouping.positions = Positions::each;
  expect_checked(single, "single positions");
}

TEST(NormSettings, AreCheckedWhereTheConvolutionIsFused) {
  Conv2d conv(16, 16, 3, {.padding = 1});
  Norm norm = BatchNorm(16);
  norm.eps = -2;
  conv.eval(), norm.eval();
  const Tensor x = random({2, 8, 8, 16}, 1).to(f32);
  expect_error([&] { norm(conv, x); }, "eps");
  expect_error([&] { norm(conv(x)); }, "eps");
  // The op, too.
  const Statistics given = Statistics::given(zeros({16}, f64), ones({16}, f64));
  for (const double eps : {-2., kNaN})
    expect_error([&] { conv2d_norm(x, conv.weight, conv.bias, conv.options, whole(), given, {}, {}, {.eps = eps}); },
                 "eps");
  conv2d_norm(x, conv.weight, conv.bias, conv.options, whole(), given, {}, {}, {.eps = 0});
}

TEST(NormSettings, DomainsShareNothingUnlessToldTo) {
  const Norm norm = DomainNorm(4, {.count = 3});
  EXPECT_EQ(norm.weight.shape(), (Shape{3, 4}));
  EXPECT_EQ(norm.running_mean.shape(), (Shape{3, 4}));
}

TEST(NormSettings, APopulationFollowsItsShape) {
  Norm norm = BatchNorm(4);
  const Tensor x = random({4, 3, 3, 4}, 1).to(f32);
  {
    Tape tape;
    norm(x);
  }
  norm.grouping.channels = Channels::groups(2);
  norm.eval();
  EXPECT_TRUE(close(norm(x), x / std::sqrt(1 + norm.eps), 1e-6));
  EXPECT_EQ(norm.running_mean.shape(), Shape{2});
}

TEST(NormSettings, AMomentumOfZeroLeavesThePopulation) {
  Norm norm = BatchNorm(4, {.momentum = 0});
  Tape tape;
  for (uint64_t i = 0; i < 3; ++i) norm((random({4, 4}, i) + 3).to(f32));
  EXPECT_TRUE(same_bits(norm.running_mean, zeros({4}, f64)));
  EXPECT_TRUE(same_bits(norm.running_var, ones({4}, f64)));
}

// Each thread has its own domains, as each has its own tape.
TEST(NormDomainsThreads, ShareAModelInEvaluation) {
  Norm norm = DomainNorm(2, {.count = 2});
  norm.running_mean.copy_from(tensor<double>({1, 1, 100, 100}, {2, 2}));
  norm.eval();
  const Tensor x = full({8, 2}, 3);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int64_t domain : {0, 1})
    threads.emplace_back([&, domain] {
      for (int i = 0; i < 200; ++i) {
        set_domains(norm, full({8}, static_cast<double>(domain), i64));
        const Tensor y = norm(x);
        wrong += std::abs(y.to(f64).data<double>()[0] - (domain == 0 ? 2 : -97)) > 0.01;
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  expect_error([&] { norm(x); }, "set_domains");  // this thread has said nothing
}

int64_t most_bytes(const std::function<void()>& f) {
  f();
  const int64_t before = cpu_memory().stats().bytes_in_use;
  cpu_memory().reset_peak();
  f();
  return cpu_memory().stats().peak_bytes - before;
}

// Paths that are only faster, seen by the memory that they do without.
TEST(NormMemory, BehindAConvolutionEvaluationKeepsNothingInBetween) {
  Conv2d conv(16, 16, 3, {.padding = 1});
  Norm norm = BatchNorm(16);
  norm.activation = Activation::relu();
  conv.eval(), norm.eval();
  const Tensor x = random({8, 32, 32, 16}, 1).to(f32);
  const int64_t output = x.bytes();
  EXPECT_LT(most_bytes([&] { norm(conv, x); }), 2 * output);
  EXPECT_GE(most_bytes([&] { norm(conv(x)); }), 2 * output);
  Sequential net(Conv2d(16, 16, 3, {.padding = 1}), BatchNorm(16), ReLU());
  net.eval();
  EXPECT_LT(most_bytes([&] { net(x); }), 2 * output);
}

TEST(NormMemory, TheGradientIsWrittenOverTheUpstreamOne) {
  const Tensor x = random({8, 32, 32, 16}, 1).to(f32), gamma = ones({16});
  for (const Grouping& g : {whole(), instance()}) {
    const Tensor leaf = x.clone().set_requires_grad();
    const int64_t bytes = most_bytes([&] {
      leaf.set_grad({});
      Tape tape;
      const Tensor y = norma::norm(norma::norm(leaf, g, {}, gamma, {}), g, {}, gamma, {});
      tape.backward(sum(y));
    });
    // Two results, and one gradient, which both norms write over the sum's.
    EXPECT_LT(bytes, 3.5 * static_cast<double>(x.bytes())) << g.str();
  }
}

TEST(NormMemory, AMaskIsKeptForAnActivationOnly) {
  const Tensor x = random({8, 32, 32, 16}, 1).to(f32).set_requires_grad(), residual = x.detach().clone();
  const auto saved = [&](const Activation& f) {
    Tape tape;
    norma::norm(x, whole(), {}, {}, {}, {.activation = f, .residual = {residual}});
    return tape.profile().at("norm").bytes_saved;
  };
  EXPECT_EQ(saved(Activation::relu()) - saved(Activation::none()), x.numel());
}

// Sums in float would not move any more after 2^24.
TEST(NormRowSets, GradientsOfTheParametersAreSummedInDouble) {
  const int64_t rows = 300'000;
  const Tensor x = random({rows, 4}, 1).to(f32), gamma = ones({4}).set_requires_grad(),
               beta = zeros({4}).set_requires_grad();
  Tape tape;
  const Tensor y = norma::norm(x, features(), {}, gamma, beta);
  tape.backward(y, {.seed = full({rows, 4}, 1.1)});
  EXPECT_NEAR(mean(beta.grad()).item() / (1.1 * static_cast<double>(rows)), 1, 1e-6);
  const Tensor exact = sum(norma::norm(x.to(f64), features(), {}, {}, {}), {0}) * 1.1;
  EXPECT_TRUE(close(gamma.grad().to(f64), exact, 2e-5));
}

TEST(NormPopulation, ALastSingleSampleIsLeftOut) {
  data::ImageDataset set{"two", Tensor({5, 2, 1, 1}, u8), zeros({5}, i64), {"none"}};
  for (int64_t i = 0; i < 10; ++i) set.images.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(20 * i);
  data::DataLoader loader(set, {.batch = 2, .normalize = set.statistics()});
  Norm norm = BatchNorm(1);
  std::vector<int64_t> batches;
  norm.collect = [&](const std::vector<Tensor>& xs, const Moments&) { batches.push_back(xs[0].dim(0)); };
  run_batches(norm, loader, 0, 2, false, {});
  EXPECT_EQ(batches, (std::vector<int64_t>{2, 2}));
  batches.clear();
  run_batches(norm, loader, 1, 2, false, {});  // unless it is all there is
  EXPECT_EQ(batches, (std::vector<int64_t>{1}));
}

TEST(NormVerdict, ALagBelowTheNoiseIsNotTheAveragesFault) {
  NormReport::Layer layer{};
  layer.kl = layer.noise = layer.shuffled = 0.05, layer.lag = 0.02, layer.effective_samples = 100;
  EXPECT_FALSE(layer.stale());
  layer.lag = 0.06;
  EXPECT_TRUE(layer.stale());
  layer.noise = layer.shuffled = 0.001, layer.lag = 0.009;
  EXPECT_FALSE(layer.stale());
}

}  // namespace
}  // namespace norma::nn
