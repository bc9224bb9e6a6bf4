// Layers whose variance is of more channels than their mean, that mix statistics in evaluation, or take a gamma and a
// beta of each sample: their populations, and what is made of these.
#include "norma/nn/layers.h"
#include "norma/nn/norm/norm_report.h"
#include "norma/nn/norm/population.h"
#include "norma/nn/sequential.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

// Channels of different means and deviations.
Tensor channels_apart(const Shape& shape, uint64_t seed) {
  const Tensor c = arange(shape.back(), f64);
  return (random(shape, seed) * (c * 0.5 + 1) + c * 3).to(f32);
}

// The mean over the channels of each group of their variances.
Tensor variance_of(const Tensor& x, int64_t groups) {
  const Tensor channels = var(reshape(x.to(f64), {-1, x.dim(-1)}), {0}, 0);
  return mean(reshape(channels, {groups, -1}), {1});
}

TEST(WiderNorm, ExtendedBatchNormHasAMeanOfEachChannelAndAVarianceOfAll) {
  Norm norm = ExtendedBatchNorm(4, 1);
  const Tensor x = channels_apart({16, 3, 3, 4}, 1), rows = reshape(x.to(f64), {-1, 4});
  Tensor y;
  {
    Tape tape;
    y = norm(x);
  }
  const double variance = variance_of(x, 1).item();
  EXPECT_TRUE(close(y.to(f64), (x.to(f64) - mean(rows, {0})) / std::sqrt(variance + norm.eps), 1e-5));
  EXPECT_TRUE(close(norm.running_mean, mean(rows, {0}), 1e-6));
  // Unbiased: of each channel one degree of freedom goes with its mean.
  EXPECT_TRUE(close(norm.running_var, full({4}, variance * 144 / 143, f64), 1e-6));
  EXPECT_NE(norm.type().find("variance"), std::string::npos);
  norm.eval();
  EXPECT_TRUE(close(norm(x).to(f64), (x.to(f64) - mean(rows, {0})) / std::sqrt(variance * 144 / 143 + norm.eps), 1e-5));
}

TEST(WiderNorm, PreciseIsThePopulationOfEverything) {
  Norm norm(6, {.scale = Grouping{.channels = Channels::groups(2)}});
  const Tensor all = concat({channels_apart({40, 2, 2, 6}, 1), channels_apart({25, 2, 2, 6}, 2) * 2 + 1}, 0);
  precise_bn(norm, [&] {
    for (int64_t begin : {0, 20, 40}) norm(view::slice(all, 0, begin, std::min<int64_t>(begin + 20, 65)));
    norm(view::slice(all, 0, 60, 65));
  });
  const Tensor spread = ones({2, 3}, f64) * reshape(variance_of(all, 2), {2, 1});
  EXPECT_TRUE(close(norm.running_mean, mean(reshape(all.to(f64), {-1, 6}), {0}), 1e-6));
  EXPECT_TRUE(close(norm.running_var, reshape(spread, {6}), 1e-6));
}

TEST(WiderNorm, FrozenFoldedAndReported) {
  Sequential model(Conv2d(3, 4, 3), ExtendedBatchNorm(4, 1));
  const Tensor x = channels_apart({16, 6, 6, 3}, 1);
  {
    Tape tape;
    model(x);
  }
  model.eval();
  const Tensor before = model(x);
  freeze_bn(model);
  EXPECT_TRUE(same_bits(model(x), before));
  EXPECT_EQ(fold_norm(model, x).count, 1);
  EXPECT_TRUE(close(model(x), before, 1e-4));
}

TEST(WiderNorm, NormsOfASampleHaveOneToo) {
  Norm norm(4, {.grouping = instance(), .scale = layer()});
  EXPECT_FALSE(norm.has_population());
  const Tensor x = channels_apart({3, 2, 5, 4}, 1);
  EXPECT_TRUE(same_bits(norm(x), norma::norm(x, instance(), {}, norm.weight, norm.bias, {.scale = layer()})));
  EXPECT_FALSE(close(norm(x), norma::norm(x, instance(), {}, {}, {}), 1e-2));
}

TEST(WiderNorm, MixesTheMiniBatchWithThePopulation) {
  for (const bool extended : {false, true}) {
    Norm norm = extended ? ExtendedBatchNorm(4, 1) : BatchNorm(4, {.momentum = 1});
    {
      Tape tape;
      norm(channels_apart({16, 3, 3, 4}, 1));
    }
    norm.eval();
    const Tensor x = channels_apart({5, 3, 3, 4}, 2) * 2 + 3, population = norm(x);
    norm.evaluation = EvalStatistics::mini_batch;
    const Tensor own = norm(x);
    norm.evaluation = EvalStatistics::mixed;
    norm.alpha = 0;
    EXPECT_TRUE(same_bits(norm(x), population)) << extended;
    norm.alpha = 1;
    EXPECT_TRUE(close(norm(x), own, 1e-6)) << extended;
    norm.pseudo_samples = 15;  // 5 of 20
    const Tensor a = norm(x);
    norm.pseudo_samples = 0;
    norm.alpha = 0.25;
    EXPECT_TRUE(close(norm(x), a, 1e-6)) << extended;
    const Tensor m = mean(reshape(x.to(f64), {-1, 4}), {0});
    const Tensor v = extended ? ones({4}, f64) * variance_of(x, 1) : variance_of(x, 4);
    const Tensor want =
        (x.to(f64) - (m * 0.25 + norm.running_mean * 0.75)) / sqrt(v * 0.25 + norm.running_var * 0.75 + norm.eps);
    EXPECT_TRUE(close(a.to(f64), want, 1e-5)) << extended;
    const Tensor kept = norm.running_mean.clone();
    precise_bn(norm, [&] { norm(x); });  // mixes nothing, whatever evaluation does
    EXPECT_TRUE(close(norm.running_mean, m, 1e-6)) << extended;
    EXPECT_FALSE(same_bits(norm.running_mean, kept));
  }
}

// Pseudo samples are weighed against those whose statistics are mixed in: of all workers, or of a domain.
TEST(WiderNorm, PseudoSamplesAreWeighedAgainstWhatIsMixed) {
  const Tensor x = channels_apart({12, 2, 2, 4}, 1);
  const auto mixed = [](Norm norm, const Tensor& in) {
    norm.running_mean.fill(1);
    norm.eval();
    norm.evaluation = EvalStatistics::mixed;
    norm.pseudo_samples = 12;
    return norm(in);
  };
  std::vector<Tensor> parts(2);
  run_workers({.count = 2}, [&](Communicator& me) {
    const bool second = me.rank() == 1;
    parts[second] = mixed(SyncBatchNorm(4, me), view::slice(x, 0, second ? 9 : 0, second ? 12 : 9).clone());
  });
  EXPECT_TRUE(close(concat(parts, 0), mixed(BatchNorm(4), x), 1e-5));

  const Tensor ids = tensor<int64_t>({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  // A sample of a domain by itself counts as one, whatever else is in the batch.
  const auto of_domains = [&](const Tensor& in, const Tensor& own_ids, const Domains& domains) {
    Norm norm = DomainNorm(4, domains);
    set_domains(norm, own_ids);
    return mixed(std::move(norm), in);
  };
  const Domains apart = {.count = 2}, shared = {.count = 2, .batch = false, .population = true, .affine = false};
  expect_error([&] { of_domains(x, ids, shared); }, "neither mixed with nor corrected");
  const Tensor last = view::slice(x, 0, 11, 12).clone(), all = of_domains(x, ids, apart);
  EXPECT_TRUE(close(view::slice(all, 0, 11, 12), of_domains(last, tensor<int64_t>({1}), apart), 1e-5));
  const Domains one_population = {.count = 2, .batch = true, .population = false, .affine = false};
  EXPECT_TRUE(close(of_domains(x, ids, one_population), all, 1e-5));
}

// The output of the population, where nothing is clipped, with the gradient of the batch.
TEST(WiderNorm, RenormInEvaluation) {
  Norm norm(4, {.evaluation = EvalStatistics::renorm, .r_max = 1e3, .d_max = 1e3});
  norm.running_mean.fill(2);
  norm.running_var.fill(9);
  norm.eval();
  Tensor x = channels_apart({5, 3, 3, 4}, 2);
  x.set_requires_grad();
  const Tensor kept = norm.running_mean.clone();
  Tape tape;
  const Tensor y = norm(x);
  EXPECT_TRUE(close(y.detach(), (x.detach() - 2) / static_cast<float>(std::sqrt(9 + norm.eps)), 1e-5));
  tape.backward(y, {.seed = random(y.shape(), 3).to(f32)});
  EXPECT_TRUE(close(sum(x.grad(), {0, 1, 2}), zeros({4}), 1e-5));
  EXPECT_TRUE(same_bits(norm.running_mean, kept));
  norm.r_max = 1, norm.d_max = 0;  // then it is the mini-batch's
  EXPECT_TRUE(close(norm(x.detach()), norma::norm(x.detach(), whole(), {}, {}, {}), 1e-6));
}

TEST(WiderNorm, MixesInTraining) {
  Norm norm(4, {.grouping = chunks(3), .source = Statistics::Source::mixed, .alpha = 0.3});
  const Tensor x = channels_apart({6, 3, 3, 4}, 2), mean = zeros({4}, f64), var = ones({4}, f64);
  EXPECT_TRUE(same_bits(norm(x), norma::norm(x, chunks(3), Statistics::mixed(mean, var, 0.3), norm.weight, norm.bias)));
  norm.pseudo_samples = 7;  // 3 of 10
  EXPECT_TRUE(close(norm(x), norma::norm(x, chunks(3), Statistics::mixed(mean, var, 0.3), {}, {}), 1e-6));
}

TEST(WiderNorm, LearnsAlpha) {
  for (const bool of_mixture : {false, true}) {
    Norm norm(4, {.grouping = chunks(3),
                  .source = Statistics::Source::mixed,
                  .alpha = 0.3,
                  .of_mixture = of_mixture,
                  .learned_alpha = true});
    const Tensor x = channels_apart({6, 3, 3, 4}, 2), mean = random({4}, 3), var = full({4}, 2, f64);
    norm.running_mean.copy_from(mean);
    norm.running_var.copy_from(var);
    const Tensor want =
        norma::norm(x, chunks(3), Statistics::mixed(mean, var, 0.3, of_mixture), norm.weight, norm.bias);
    EXPECT_TRUE(close(norm(x), want, 1e-6));
    EXPECT_FALSE(of_mixture &&
                 close(norm(x), norma::norm(x, chunks(3), Statistics::mixed(mean, var, 0.3), {}, {}), 1e-3));
    norm.to(f64);
    const Tensor wide = x.to(f64), upstream = random(x.shape(), 5);
    const auto loss = [&] { return sum(norm(wide) * upstream); };
    {
      Tape tape;
      tape.backward(loss());
    }
    norm.running_mean.copy_from(mean);  // which training has moved
    norm.running_var.copy_from(var);
    for (int64_t c = 0; c < 4; ++c) {
      const Tensor begin = norm.mixing.clone();
      const auto at = [&](double step) {
        norm.mixing = begin + one_hot(tensor({c}), 4, f64)[0] * step;
        return loss().item();
      };
      EXPECT_NEAR(norm.mixing.grad().at({c}), (at(1e-5) - at(-1e-5)) / 2e-5, 1e-6) << c;
      norm.mixing = begin;
    }
  }
  Norm both(
      4, {.grouping = {.channels = Channels::groups(2)}, .source = Statistics::Source::mixed, .learned_alpha = true});
  EXPECT_EQ(both.mixing.shape(), Shape{2});
  EXPECT_EQ(both.mixing.at({1}), 0);  // sigmoid(0) = 0.5
  expect_error([] { Norm(4, {.alpha = 1, .learned_alpha = true}); }, "begins in (0, 1), not at 1");
  Norm plain = BatchNorm(4);
  plain.learned_alpha = true;
  expect_error([&] { plain(zeros({2, 4})); }, "has no parameters for what it is now: set learned_alpha");
}

// Inputs of other numbers of samples, in any order.
TEST(WiderNorm, PseudoSamplesAreWeighedAgainstAllInputs) {
  Norm norm = BatchNorm(4);
  norm.eval();
  norm.evaluation = EvalStatistics::mixed;
  norm.pseudo_samples = 4;
  const Tensor a = channels_apart({1, 3, 4}, 1), b = channels_apart({7, 3, 4}, 2) + 9;
  EXPECT_TRUE(close(norm(std::vector{a, b})[0], norm(std::vector{b, a})[1], 1e-6));
  EXPECT_TRUE(close(norm(std::vector{a.slice(0, 0, 0), b})[1], norm(b), 1e-6));
}

TEST(WiderNorm, ThePopulationFollowsTheBatchWhateverCounts) {
  for (const double alpha : {0., 0.5, 1.}) {
    Norm norm(4, {.source = Statistics::Source::mixed, .estimator = Estimator::ema(1), .alpha = alpha});
    const Tensor x = channels_apart({16, 3, 3, 4}, 1);
    const Tape tape;
    norm(x);
    EXPECT_TRUE(close(norm.running_mean, mean(x.to(f64), {0, 1, 2}), 1e-6)) << alpha;
  }
}

TEST(WiderNorm, IsNotFoldedWhereItsPopulationIsNotAll) {
  const Tensor x = channels_apart({16, 6, 6, 3}, 1);
  Sequential model(Conv2d(3, 4, 3), BatchNorm(4));
  auto& norm = dynamic_cast<Norm&>(model[1]);
  norm.evaluation = EvalStatistics::mixed;
  EXPECT_EQ(fold_norm(model, x).count, 0);

  struct Styled : Module {
    Conv2d conv{3, 4, 3};
    Norm norm = BatchNorm(4);
    NORMA_VISIT(conv, norm)
    Tensor forward(const Tensor& in) override {
      const Tensor own = full({in.dim(0), 4}, 2);
      return norm(conv(in), own, own);
    }
  } styled;
  const Folded folded = fold_norm(styled, x);
  EXPECT_EQ(folded.count, 0);
  EXPECT_NE(folded.left.at(0).find("from elsewhere"), std::string::npos);
}

// Channels of very different deviations: their common variance is nobody's own.
TEST(WiderNorm, IsReportedByDomainsAsOthersAre) {
  Sequential model(ExtendedBatchNorm(3));
  const Tensor deviations = tensor({1., 8., 30.});
  const data::ImageDataset pictures = {
      "noise", (random({200, 4, 4, 3}, 4) * deviations + 128).to(u8), zeros({200}, i64), {"a"}};
  const data::DataLoader loader(pictures, {.batch = 50, .normalize = data::ChannelStats{{0, 0, 0}, {1, 1, 1}}});
  precise_bn(model, loader);
  NormReportOptions options;
  options.domains = (arange(200, f64) - floor(arange(200, f64) / 2) * 2).to(i64);
  const NormReport report = norm_report(model, loader, options);
  EXPECT_EQ(report.str().find("not i.i.d."), std::string::npos) << report.str();
  EXPECT_LT(report.layers.at(0).noise, 0.05) << report.str();
}

// A single sample has no variance of its own; with a population it has.
TEST(WiderNorm, ASingleSampleMayBeMixed) {
  Norm norm = BatchNorm(2);
  norm.eval();
  norm.evaluation = EvalStatistics::mixed;
  norm.pseudo_samples = 1;
  const Tensor x = tensor<float>({2, 4}, {1, 2});
  EXPECT_TRUE(close(norm(x), x / 2 / static_cast<float>(std::sqrt(0.5 + norm.eps)), 1e-6));
}

TEST(WiderNorm, TakesAGammaAndABetaOfEachSample) {
  Norm norm = BatchNorm(4, {.momentum = 1, .activation = Activation::relu()});
  Tensor x = channels_apart({6, 3, 3, 4}, 1), gamma = random({6, 4}, 2).to(f32), beta = random({6, 4}, 3).to(f32);
  const auto wanted = [&](const Tensor& mean, const Tensor& variance) {
    const Tensor y = (x.to(f64) - mean) / sqrt(variance + norm.eps);
    return relu(y * reshape(gamma.to(f64), {6, 1, 1, 4}) + reshape(beta.to(f64), {6, 1, 1, 4}));
  };
  gamma.set_requires_grad();
  Tape tape;
  const Tensor y = norm(x, gamma, beta);
  EXPECT_TRUE(close(y.detach().to(f64), wanted(mean(x.to(f64), {0, 1, 2}), variance_of(x, 4)), 1e-5));
  tape.backward(sum(y));
  EXPECT_EQ(gamma.grad().shape(), gamma.shape());
  EXPECT_FALSE(norm.weight.grad().defined());  // it has no part
  EXPECT_FALSE(close(norm.running_mean, zeros({4}, f64), 1e-3));
  norm.eval();
  EXPECT_TRUE(close(norm(x, gamma, beta).detach().to(f64), wanted(norm.running_mean, norm.running_var), 1e-5));
}

TEST(WiderNorm, RefusesWhatDoesNotGoTogether) {
  expect_error([] { Norm(4, {.scale = instance()}); },
               "[Norm] a mean over whole x all x each and a variance over each");
  expect_error([] { Norm(4, {.scale = Grouping{.channels = {1}}, .center = false}); }, "want centering");
  expect_error([] { Norm(4, {.alpha = 1.5}); }, "[Norm] alpha 1.5");
  expect_error([] { Norm(4, {.pseudo_samples = -1}); }, "pseudo samples -1");
  expect_error(
      [] {
        Norm(6, {.scale = Grouping{.channels = {4}}})(ones({4, 6}));
      },
      "a variance over whole x all x groups(4)");
  Norm domains = DomainNorm(4, {.count = 2});
  set_domains(domains, tensor<int64_t>({0, 1}));
  expect_error([&] { domains(ones({2, 4}), ones({2, 4}), {}); }, "domains");
  for (const auto source : {Statistics::Source::mixed, Statistics::Source::renorm})
    expect_error(
        [&] {
          Norm(4, {.source = source, .domains = {.count = 2, .batch = false, .population = true, .affine = false}});
        },
        "neither mixed with nor corrected");
  Norm by_label(4, {.grouping = labels(tensor<int64_t>({0, 1}), 2)}), none(4, {.identity = true});
  expect_error([&] { by_label(ones({2, 4}), ones({2, 4}), {}); }, "labels");
  expect_error([&] { none(ones({2, 4}), ones({2, 4}), {}); }, "without a norm");
  Norm own = DomainNorm(4, {.count = 2, .batch = false, .population = false, .affine = true});
  set_domains(own, tensor<int64_t>({0, -1}));
  expect_error([&] { own(random({2, 4}).to(f32)); }, "domain below 0");
}

}  // namespace
}  // namespace norma::nn
