// Models, optimizers, loaders and checkpoints on the test device, beside the same on the CPU.
#include "examples/common/digits.h"
#include "examples/common/resnet.h"
#include "tests/files.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

// A model and what it is given, f32 [N, H, W, C].
struct Case {
  const char* name;
  std::function<std::unique_ptr<Module>()> make;
  Shape input{6, 8, 8, 4};
};

template <class M, class... Args>
Case layer(const char* name, Args... args) {
  return {name, [=] { return std::make_unique<M>(args...); }};
}
Case norm_layer(const char* name, Norm (*make)()) {
  return {name, [=] {
            auto layer = std::make_unique<Norm>(make());
            layer->activation = Activation::relu();
            return layer;
          }};
}

// The output in training, the gradients, the buffers after three steps, the output in evaluation.
NamedTensors results(const Case& c, Device device) {
  manual_seed(3);
  const std::unique_ptr<Module> model = c.make();
  model->to(device);
  NamedTensors all;
  for (uint64_t step = 0; step < 3; ++step) {
    model->zero_grad();
    const Tensor x = random(c.input, step).to(f32).to(device).clone().set_requires_grad();
    Tape tape;
    const Tensor y = (*model)(x);
    EXPECT_EQ(y.device(), device);
    tape.backward(y, {.seed = random(y.shape(), 9 + step).to(f32).to(device)});
    all.emplace_back("y", y.detach());
    all.emplace_back("dx", x.grad());
  }
  for (const auto& [name, p] : model->named_parameters()) all.emplace_back("d" + name, p.grad());
  for (const auto& [name, b] : model->named_buffers()) all.emplace_back(name, b);
  model->eval();
  all.emplace_back("evaluated", (*model)(random(c.input, 5).to(f32).to(device)));
  return all;
}

TEST(OnDevice, LayersDoWhatTheyDoOnTheCpu) {
  const std::vector<Case> cases = {
      layer<Conv2d>("conv", 4, 5, 3, Conv2dOptions{.stride = 2, .padding = 1}),
      layer<ConvTranspose2d>("conv_transpose", 4, 3, 2, ConvTranspose2dOptions{.stride = 2}),
      layer<Linear>("linear", 4, 7),
      layer<Dropout>("dropout", 0.3),
      layer<MaxPool2d>("max_pool", 2),
      layer<AvgPool2d>("avg_pool", 3),
      layer<GELU>("gelu"),
      norm_layer("bn", [] { return BatchNorm(4); }),
      norm_layer("ghost", [] { return BatchNorm(4, {.normalization_batch = 4}); }),
      norm_layer("gn", [] { return GroupNorm(2, 4); }),
      norm_layer("brn", [] { return BatchRenorm(4); }),
      norm_layer("frn", [] { return FilterResponseNorm(4); }),
      norm_layer("dyt", [] { return DynamicTanh(4); }),
      norm_layer("dye", [] { return DynamicErf(4); }),
      norm_layer("evo", [] { return EvoNormS0(4, 2); }),
      norm_layer("mixed",
                 [] {
                   return Norm(4, {.source = Statistics::Source::mixed,
                                   .evaluation = EvalStatistics::mixed,
                                   .alpha = 0.3,
                                   .pseudo_samples = 5});
                 }),
      norm_layer("renorm in evaluation", [] { return Norm(4, {.evaluation = EvalStatistics::renorm}); }),
      {"cumulative",
       [] { return std::make_unique<Norm>(300, NormSettings{.estimator = Estimator::cumulative()}); },
       {4, 3, 3, 300}},
      {"pooled",
       [] { return std::make_unique<Norm>(16, NormSettings{.activation = Activation::relu(), .max_pool = 2}); },
       {3, 5, 6, 16}},
      {"resnet", [] { return std::make_unique<examples::ResNet>(8, 10); }, {4, 8, 8, 3}}};
  for (const Case& c : cases) {
    const NamedTensors want = results(c, cpu_device), got = results(c, test_device());
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_TRUE(close(got[i].second, want[i].second, 2e-5)) << c.name << " " << got[i].first;
  }
}

// The losses of some steps on drawn digits, and the checkpoint of the last.
std::vector<double> losses(Device device, int64_t steps, const std::string& from, const std::string& to) {
  manual_seed(1);
  data::DataLoader loader(examples::draw_digits(96, 1), {.batch = 16, .shuffle = true, .device = device});
  Sequential model(Conv2d(1, 8, 3, {.stride = 2}, {.bias = false}), BatchNorm(8, {.normalization_batch = 8}), ReLU(),
                   MaxPool2d(2), Flatten(), Dropout(0.2), Linear(8 * 6 * 6, 10));
  model.to(device);
  AdamW optimizer(model, {.lr = 1e-2});
  const TrainingRun run{model, optimizer, {}, {}};
  Progress progress;
  if (!from.empty()) {
    progress = load_checkpoint(from, run);
    loader.seek({progress.epoch, progress.batch});
  }
  std::vector<double> result;
  while (std::ssize(result) < steps) {
    for (const data::Batch& batch : loader) {
      optimizer.zero_grad();
      Tape tape;
      const Tensor loss = cross_entropy(model(batch.images), batch.labels);
      tape.backward(loss);
      clip_grad_norm(optimizer.parameters(), 1);
      optimizer.step();
      result.push_back(loss.item());
      if (std::ssize(result) == steps) break;
    }
  }
  if (!to.empty()) save_checkpoint(to, run, {.epoch = loader.position().epoch, .batch = loader.position().batch});
  return result;
}

TEST(OnDevice, TrainsAsTheCpuDoesAndTakesItsCheckpointUp) {
  const TemporaryFolder folder;
  const std::vector<double> want = losses(cpu_device, 12, "", folder / "cpu");
  const std::vector<double> got = losses(test_device(), 12, "", folder / "device");
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4) << i;
  EXPECT_LT(want.back(), want.front() - 0.3);
  const std::vector<double> further = losses(cpu_device, 3, folder / "cpu", ""),
                            crossed = losses(test_device(), 3, folder / "cpu", ""),
                            back = losses(cpu_device, 3, folder / "device", "");
  for (size_t i = 0; i < further.size(); ++i) {
    EXPECT_NEAR(crossed[i], further[i], 1e-4) << i;
    EXPECT_NEAR(back[i], further[i], 2e-4) << i;
  }
}

// Muon is made of ops; looking ahead and averaging write into what lies on the device.
TEST(OnDevice, MuonLookaheadAndAveragesStepAsOnTheCpu) {
  const auto run = [](Device device) {
    Generator g(1);
    Sequential model(Conv2d(2, 5, 3), Linear(5, 4)), averaged(Conv2d(2, 5, 3), Linear(5, 4));
    for (const Tensor& p : model.parameters()) p.copy_from(randn(p.shape(), g));
    model.to(device), averaged.to(device);
    Muon optimizer(model, {.weight_decay = 0.1, .groups = {{"1.*", {.lr_scale = 2}}}});
    optimizer.look_ahead(2);
    WeightAverage average(model, averaged, {.decay = 0.5});
    for (int k = 0; k < 4; ++k) {
      for (const Tensor& p : model.parameters()) p.set_grad(randn(p.shape(), g).to(device));
      optimizer.step();
      average.update();
    }
    return averaged.parameters();
  };
  const std::vector<Tensor> want = run(cpu_device), got = run(test_device());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(close(got[i].to(cpu_device), want[i], 1e-4)) << i;
}

TEST(OnDevice, LoadersServeTheSameBatches) {
  const data::ImageDataset digits = examples::draw_digits(50, 2);
  for (int64_t prefetch : {0, 2}) {
    const data::LoaderOptions options = {.batch = 8, .shuffle = true, .prefetch = prefetch};
    data::LoaderOptions there = options;
    there.device = test_device();
    data::DataLoader a(digits, options), b(digits, there);
    for (int epoch = 0; epoch < 2; ++epoch) {
      std::vector<data::Batch> kept;
      for (const data::Batch& batch : b) kept.push_back(batch);  // all at once: no memory serves two of them
      size_t i = 0;
      for (const data::Batch& batch : a) {
        ASSERT_LT(i, kept.size());
        EXPECT_EQ(kept[i].images.device(), test_device());
        EXPECT_TRUE(same_bits(batch.images, kept[i].images));
        EXPECT_TRUE(same_bits(batch.labels, kept[i].labels));
        EXPECT_TRUE(same_bits(batch.indices, kept[i++].indices));
      }
      b.seek({1, 3});  // batches that were made ahead are thrown away
      a.seek({1, 3});
      EXPECT_TRUE(same_bits(a.next()->images, b.next()->images));
      a.seek({1, 0});
      b.seek({1, 0});
    }
  }
}

TEST(OnDevice, PopulationsAreEstimatedAndFolded) {
  const auto make = [] {
    manual_seed(5);
    return Sequential(Conv2d(1, 4, 3), BatchNorm(4), ReLU(), Flatten(), Linear(4 * 26 * 26, 3));
  };
  Sequential here = make(), there = make();
  there.to(test_device());
  data::DataLoader loader(examples::draw_digits(40, 3), {.batch = 10, .normalize = data::ChannelStats{{0.1}, {0.3}}});
  precise_bn(here, loader);
  precise_bn(there, loader);
  const auto same = [&] {
    const NamedTensors a = here.state_dict(), b = there.state_dict();
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(close(b[i].second, a[i].second, 1e-5)) << a[i].first;
  };
  same();
  const Tensor x = loader.next()->images;
  here.eval();
  there.eval();
  EXPECT_TRUE(close(there(x.to(test_device())), here(x), 1e-5));
  EXPECT_EQ(fold_norm(here, x).count, fold_norm(there, x.to(test_device())).count);
  same();
  EXPECT_TRUE(close(there(x.to(test_device())), here(x), 1e-5));
}

TEST(OnDevice, WhatIsOnAnotherDeviceIsAnError) {
  if (test_device().is_cpu()) GTEST_SKIP() << "there is one device";
  Linear linear(3, 2);
  linear.to(test_device());
  expect_error([&] { linear(zeros({1, 3})); }, "devices differ");
  Linear left(2, 2);
  expect_error([&] { SGD(NamedTensors{{"a", linear.weight}, {"b", left.weight}}); }, "'b' is on cpu, 'a' on cuda:0");
}

TEST(OnDevice, StatisticsOfTwoDevicesAreAnError) {
  if (test_device().is_cpu()) GTEST_SKIP() << "there is one device";
  const Tensor x = random({4, 3}, 1).to(f32), mean = zeros({3}, f64, test_device()),
               there = ones({3}, f64, test_device());
  const auto by = [&](const Statistics& statistics) { return norm(x, whole(), statistics, {}, {}); };
  by(Statistics::given(mean, there));
  expect_error([&] { by(Statistics::given(mean, ones({3}, f64))); }, "devices differ: not all on cuda:0");
  expect_error([&] { by(Statistics::mixed(mean, there, ones({3}, f64))); }, "devices differ: not all on cuda:0");
}

TEST(OnDevice, WithoutCudaItIsSaidWhatToInstall) {
#ifdef NORMA_WITH_CUDA
  GTEST_SKIP() << "a build with CUDA";
#endif
  Linear linear(3, 2);
  expect_error([&] { linear.to(Device::parse("cuda")); }, "install the CUDA toolkit");
  expect_error([&] { data::DataLoader(examples::draw_digits(4, 1), {.device = Device::parse("cuda")}); }, "cuDNN 9");
}

}  // namespace
}  // namespace norma::nn
