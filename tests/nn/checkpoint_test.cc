// Checkpoints: a run that is taken up again ends in the same bits; what must be refused.
#include "norma/nn/checkpoint.h"

#include <filesystem>

#include "norma/nn/layers.h"
#include "norma/nn/optim/adam.h"
#include "norma/nn/optim/sgd.h"
#include "norma/nn/optim/weight_average.h"
#include "norma/nn/sequential.h"
#include "norma/nn/state.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

std::string temporary(const std::string& name) {
  return (std::filesystem::path(testing::TempDir()) / ("norma_checkpoint_" + name + ".safetensors")).string();
}

struct Training {
  Sequential model{Linear(4, 8), BatchNorm(8), ReLU(), Dropout(0.3), Linear(8, 2)};
  AdamW optimizer{model, {.lr = 0.01}};
  Generator data{99, uint64_t{1} << 63};
  Progress progress;
  TrainingRun run{model, optimizer, {{"data", &data}}, {{"lr", "0.01"}, {"seed", "7"}}};

  void step() {
    const Tensor x = randn({6, 4}, data);
    optimizer.set_lr(0.01 / static_cast<double>(1 + progress.step));
    optimizer.zero_grad();
    Tape tape;
    const Tensor y = model(x);
    tape.backward(y, {.seed = randn(y.shape(), data)});
    optimizer.step();
    ++progress.step;
  }
};

TEST(Checkpoint, AResumedRunEndsInTheSameBits) {
  const std::string path = temporary("resume");
  manual_seed(0xFFFF'FFFF'FFFF'FFF1);  // not exact as a double, nor as a signed number
  Training through;
  for (int k = 0; k < 3; ++k) through.step();
  through.progress.epoch = 5;
  through.progress.batch = 17;
  through.progress.metadata["best"] = "0.75\n\"quoted\"";
  save_checkpoint(path, through.run, through.progress);
  for (int k = 0; k < 3; ++k) through.step();
  const Generator::State end = default_generator().state();

  manual_seed(1);
  Training resumed;
  resumed.data.below(10);
  resumed.progress = load_checkpoint(path, resumed.run);
  EXPECT_EQ(resumed.progress.epoch, 5);
  EXPECT_EQ(resumed.progress.batch, 17);
  EXPECT_EQ(resumed.progress.step, 3);
  EXPECT_EQ(resumed.progress.metadata, through.progress.metadata);
  for (int k = 0; k < 3; ++k) resumed.step();
  EXPECT_EQ(default_generator().state(), end);
  const NamedTensors a = through.model.state_dict(), b = resumed.model.state_dict();
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i].second, b[i].second)) << a[i].first;
  const NamedTensors c = through.optimizer.state(), d = resumed.optimizer.state();
  for (size_t i = 0; i < c.size(); ++i) EXPECT_TRUE(same_bits(c[i].second, d[i].second)) << c[i].first;
}

// Two models that are trained against each other, by optimizers of their own, and the average of one.
struct Adversaries {
  Linear generator{3, 4};
  Sequential critic{Linear(4, 6), BatchNorm(6), ReLU(), Linear(6, 1)};
  Linear averaged{3, 4};
  WeightAverage average{generator, averaged, {.decay = 0.9}};
  AdamW of_generator{generator, {.lr = 0.01}};
  SGD of_critic{critic, {.lr = 0.1, .momentum = 0.9, .groups = {{"0.*", {.lr_scale = 0.5}}}}};
  TrainingRun run{{{"generator", generator}, {"critic", critic}, {"average", average}},
                  {{"generator", of_generator}, {"critic", of_critic}}};

  Adversaries() { of_generator.look_ahead(2); }
  void step() {
    for (const double sign : {1., -1.}) {
      of_generator.zero_grad(), of_critic.zero_grad();
      Tape tape;
      tape.backward(mean(critic(generator(randn({8, 3})))) * sign);
      sign > 0 ? of_generator.step() : of_critic.step();
    }
    average.update();
  }
  std::vector<Tensor> all() {
    std::vector<Tensor> result;
    for (const auto& [_, m] : run.models)
      for (const auto& [name, x] : m.get().state_dict()) result.push_back(x);
    for (const auto& [_, o] : run.optimizers)
      for (const auto& [name, x] : o.get().state()) result.push_back(x);
    return result;
  }
};

TEST(Checkpoint, SeveralModelsAndOptimizersResumeToTheSameBits) {
  const std::string path = temporary("several");
  manual_seed(3);
  Adversaries through;
  for (int k = 0; k < 3; ++k) through.step();
  save_checkpoint(path, through.run, {.step = 3});
  for (int k = 0; k < 3; ++k) through.step();

  manual_seed(4);
  Adversaries resumed;
  EXPECT_EQ(load_checkpoint(path, resumed.run).step, 3);
  for (int k = 0; k < 3; ++k) resumed.step();
  const std::vector<Tensor> a = through.all(), b = resumed.all();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << i;
  EXPECT_EQ(resumed.average.n_averaged.item(), 6);

  const TensorFile file = load_safetensors(path);
  for (const char* name : {"model/critic/3.weight", "model/average/module.bias", "model/average/n_averaged",
                           "optimizer/critic/lr", "optimizer/generator/weight/slow"})
    EXPECT_NE(file.find(name), nullptr) << name;
}

TEST(Checkpoint, OfSeveralAreTakenByNameOnly) {
  const std::string path = temporary("names");
  Adversaries a, b;
  save_checkpoint(path, a.run, {});
  const Tensor before = b.generator.weight.clone();
  const TrainingRun part{{{"generator", b.generator}, {"discriminator", b.critic}}, b.of_generator};
  for (const char* text : {"  missing: model/discriminator/0.weight [6, 4]", "  unknown: model/critic/0.weight [6, 4]",
                           "  missing: optimizer/lr []", "  unknown: optimizer/critic/lr []"})
    expect_error([&] { load_checkpoint(path, part); }, text);
  EXPECT_TRUE(same_bits(b.generator.weight, before));
  b.of_critic.state()[0].second.fill(-1);  // which no optimizer could go on with
  save_checkpoint(path, b.run, {});
  expect_error([&] { load_checkpoint(path, a.run); }, "a learning rate of -1");
  const TrainingRun twice{{{"a", a.generator}, {"a", b.generator}}};
  expect_error([&] { save_checkpoint(path, twice, {}); }, "two tensors are named 'model/a/weight'");
  save_checkpoint(path, {a.generator}, {.step = 2});  // a model without an optimizer
  EXPECT_EQ(load_checkpoint(path, {b.generator}).step, 2);
  EXPECT_TRUE(same_bits(b.generator.weight, a.generator.weight));
}

TEST(Checkpoint, RefusesOtherOptionsByName) {
  const std::string path = temporary("options");
  Training training;
  save_checkpoint(path, training.run, {});
  training.run.fingerprint = {{"lr", "0.02"}, {"batch", "64"}};
  const Tensor weight = training.model.parameters()[0];
  weight.fill(3);
  expect_error([&] { load_checkpoint(path, training.run); },
               fmt::format("[load_checkpoint '{}'] was made with other options:\n"
                           "  batch: not given, now '64'\n"
                           "  lr: '0.01', now '0.02'\n"
                           "  seed: '7', now not given",
                           path));
  EXPECT_EQ(weight.at({0, 0}), 3);
}

TEST(Checkpoint, RefusesWhatDoesNotFitAndChangesNothing) {
  const std::string path = temporary("misfit");
  Training training;
  training.step();
  save_checkpoint(path, training.run, training.progress);

  // The model fits, the optimizer does not.
  SGD sgd(training.model, {.lr = 0.5, .momentum = 0.9});
  TrainingRun other{training.model, sgd, {}, training.run.fingerprint};
  const Tensor weight = training.model.parameters()[0];
  weight.fill(3);
  for (const char* part : {"  missing: optimizer/0.weight/velocity [8, 4]",
                           "  unknown: optimizer/0.weight/square [8, 4]", "  unknown: generator/data [3]"})
    expect_error([&] { load_checkpoint(path, other); }, part);
  EXPECT_EQ(weight.at({0, 0}), 3);
  EXPECT_EQ(sgd.lr(), 0.5);

  Training wide;
  wide.model.to(f64);
  expect_error([&] { load_checkpoint(path, wide.run); }, "  model/0.weight: f32, the run has f64");

  save(training.model, path);
  expect_error([&] { load_checkpoint(path, training.run); }, "the file is not a checkpoint of norma");
  save_safetensors(path, {}, {{"checkpoint", "9"}});
  expect_error([&] { load_checkpoint(path, training.run); }, "a checkpoint of version '9'; this norma reads '1'");
  TrainingRun twice{training.model, training.optimizer, {{"default", &training.data}}};
  expect_error([&] { save_checkpoint(path, twice, {}); }, "[checkpoint] the name 'default' is the default generator's");
}

// A file that fits, but holds numbers with which no run can go on.
TEST(Checkpoint, RefusesNumbersThatMakeNoSense) {
  const std::string path = temporary("numbers");
  Training training;
  training.step();
  const auto refuses = [&](const std::string& name, const Tensor& value, const std::string& part) {
    save_checkpoint(path, training.run, training.progress);
    TensorFile file = load_safetensors(path);
    for (auto& [key, x] : file.tensors)
      if (key == name) x = value;
    save_safetensors(path, file.tensors, file.metadata);
    Training other;
    const Tensor weight = other.model.parameters()[0];
    weight.fill(3);
    const Generator::State state = default_generator().state();
    expect_error([&] { load_checkpoint(path, other.run); }, part);
    EXPECT_EQ(weight.at({0, 0}), 3);
    EXPECT_EQ(other.optimizer.lr(), 0.01);
    EXPECT_EQ(default_generator().state(), state);
  };
  const std::string op = fmt::format("[load_checkpoint '{}'] ", path);
  refuses("optimizer/lr", scalar(NAN, f64), op + "a learning rate of nan");
  refuses("optimizer/0.weight/step", tensor<int64_t>({-1}, {}), op + "'0.weight/step' is -1");
  refuses("progress", tensor<int64_t>({1, -2, 3}), op + "stands at epoch 1, batch -2, step 3");
  TrainingRun null{training.model, training.optimizer, {{"data", nullptr}}};
  expect_error([&] { save_checkpoint(path, null, {}); }, "[checkpoint] the generator 'data' is null");
  expect_error([&] { save_checkpoint(path, training.run, {.step = -1}); },
               "[checkpoint] stands at epoch 0, batch 0, step -1");
}

TEST(Checkpoint, ItsModelCanBeLoadedAlone) {
  const std::string path = temporary("model");
  Training training;
  training.step();
  save_checkpoint(path, training.run, training.progress);
  Training other;
  load(other.model, path);
  const NamedTensors a = training.model.state_dict(), b = other.model.state_dict();
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i].second, b[i].second)) << a[i].first;
}

}  // namespace
}  // namespace norma::nn
