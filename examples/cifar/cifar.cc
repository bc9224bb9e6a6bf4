// Trains residual networks or VGG-11 on CIFAR-10 or CIFAR-100 (binary version), with any norm of the family.
//
//   cifar                                       ResNet-20, 30 epochs; scripts/get_data cifar10 fetches the data
//   cifar --model resnet56 --norm gn:8          another depth, another norm (--help lists them)
//   cifar --resume run --plot run.svg           keeps a checkpoint, also on Ctrl-C, and goes on from it; draws curves
//   cifar --ema 0.995 --tta                     tests the average of the weights, on mirror images too
//   mpirun -n 4 cifar --norm sync:2             four replicas, one a process; batch norm over two of them each
#include <norma/norma.h>

#include "examples/cifar/augment.h"
#include "examples/cifar/models.h"
#include "examples/common/evaluation.h"
#include "examples/common/find_data.h"
#include "examples/common/norm_options.h"
#include "examples/common/program.h"
#include "examples/common/progress.h"
#include "examples/common/training.h"
#include "examples/common/workers.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::data;

struct Options {
  TrainingOptions training{.epochs = 30, .batch = 128, .lr = 0.2};
  DataOptions data;
  NormOptions norms;
  std::string model = "resnet20", schedule = "onecycle", flip = "random", padding = "reflect";
  int64_t crop = 4, cutout = 0, precise = 10'000;
  double momentum = 0.9, weight_decay = 5e-4, smoothing = 0.05, ema = 0;
  bool tta = false;
};

// What random_crop, flips and cutout make of the pictures, on the loader's thread.
std::vector<Transform> augmentation(const Options& options, bool mirrors) {
  std::vector<Transform> transforms;
  const Padding padding = options.padding == "reflect" ? Padding::reflect : Padding::black;
  if (options.crop > 0) transforms.push_back(random_crop(options.crop, padding));
  if (mirrors && options.flip == "random") transforms.push_back(random_horizontal_flip());
  if (mirrors && options.flip == "alternating") transforms.push_back(alternating_flip());
  if (options.cutout > 0) transforms.push_back(cutout(options.cutout));
  return transforms;
}

// The learning rate of each of so many steps.
std::function<double(int64_t step)> make_schedule(const Options& options, int64_t steps) {
  const double lr = options.training.lr;
  if (options.schedule == "onecycle") return nn::OneCycleLR{.max_lr = lr, .steps = steps, .up = 0.2};
  if (options.schedule == "cosine") return nn::CosineLR{.lr = lr, .steps = steps};
  // As He et al. (2016): a tenth of it from one half on, a hundredth from three quarters on.
  return [=](int64_t step) { return lr * (4 * step >= 3 * steps ? 0.01 : 2 * step >= steps ? 0.1 : 1); };
}

// What each worker does.
int train_and_test(const Options& options, const Data& data, const ChannelStats& stats, nn::Worker& me) {
  const TrainingOptions& training = options.training;
  const Device device = Device::parse(training.device);
  const Shape image = data.train.images.shape().without(0);
  DataLoader train(data.train, {.batch = training.batch,
                                .shuffle = true,
                                .seed = training.seed,
                                .device = device,
                                .transforms = augmentation(options, data.mirrors),
                                .normalize = stats,
                                .worker = me});
  DataLoader test(data.test, {.batch = 500, .device = device, .normalize = train.normalization(), .worker = me});
  // What populations are estimated from: pictures as they are, as those to be tested.
  const DataLoader plain(
      data.train,
      {.batch = 500, .seed = training.seed, .prefetch = 0, .device = device, .normalize = stats, .worker = me});

  // Model, optimizer, schedule
  const NormChoice norm = parse_norm(options.norms.norm, &me);
  const auto build = [&] {
    std::unique_ptr<nn::Module> net = make_model(options.model, data.train.classes(), image[2], norm);
    options.norms.configure(*net);
    net->to(device);
    return net;
  };
  const std::unique_ptr<nn::Module> model = build();
  if (!training.load.empty() && me.first()) nn::load(*model, training.load);
  nn::broadcast(me, *model);
  nn::SGD optimizer(*model, {.lr = training.lr,
                             .momentum = options.momentum,
                             .nesterov = options.momentum > 0,
                             .weight_decay = options.weight_decay,
                             .groups = {{nn::is_norm_or_bias, {.weight_decay = 0}}}});
  const auto schedule = make_schedule(options, training.epochs * train.batches());
  const std::unique_ptr<nn::Module> averaged = options.ema > 0 ? build() : nullptr;
  std::optional<nn::WeightAverage> average;
  if (averaged) average.emplace(*model, *averaged, nn::WeightAverageOptions{.decay = options.ema});
  nn::Module& tested = averaged ? *averaged : *model;
  if (me.first()) {
    fmt::print("data   {}: {} + {} pictures {}\n", data.origin, data.train.size(), data.test.size(), image);
    fmt::print("model  {}, norm {}, {} parameters, on {}\n", options.model, options.norms.norm,
               count_parameters(*model), training.place());
  }

  // Training
  nn::TrainingRun state{*model, optimizer, {}, training.fingerprint(data.train), &me};
  if (average) state.models = {{"model", *model}, {"average", *average}};
  state.fingerprint.merge(options.norms.fingerprint());
  state.fingerprint.merge(std::map<std::string, std::string>{
      {"model", options.model},
      {"schedule", options.schedule},
      {"augmentation",
       fmt::format("crop {} {}, flip {}, cutout {}", options.crop, options.padding, options.flip, options.cutout)},
      {"momentum", fmt::format("{}", options.momentum)},
      {"weight_decay", fmt::format("{}", options.weight_decay)},
      {"label_smoothing", fmt::format("{}", options.smoothing)},
      {"ema", fmt::format("{}", options.ema)}});
  Trainer trainer(training, "cifar", state, train);
  const auto step = [&](const Batch& batch, int64_t number) -> StepResult {
    optimizer.set_lr(schedule(number));
    optimizer.zero_grad();
    Tape tape;
    const Tensor logits = (*model)(batch.images);
    const Tensor loss = cross_entropy(logits, batch.labels, {.label_smoothing = options.smoothing});
    tape.backward(loss * batch.weight);
    nn::average_gradients(me, optimizer);
    optimizer.step();
    nn::average_populations(me, *model);
    if (average) average->update();
    return {loss, logits};
  };
  Evaluation result;
  bool has_population = false;
  nn::for_each_norm(*model, [&](const std::string&, nn::Norm& layer) { has_population |= layer.has_population(); });
  const auto evaluate_model = [&]() -> Metrics {
    options.norms.estimate(*model, plain);
    if (average && has_population) nn::precise_bn(*averaged, plain, {.samples = options.precise});
    result = evaluate(tested, test, device, options.tta);
    return {{"test_accuracy", result.table.accuracy()}, {"test_loss", result.loss}};
  };
  if (const int signal = trainer.run(step, evaluate_model)) return 128 + signal;

  // Result
  if (!me.first()) return 0;
  if (data.test.classes() <= 20) fmt::print("\n{}", result.table.str());
  fmt::print("\ntest accuracy {:.4f} (loss {:.4f}) after {} epoch{} in {}\n", result.table.accuracy(), result.loss,
             training.epochs, training.epochs == 1 ? "" : "s", duration(trainer.seconds()));
  if (!training.save.empty()) nn::save(tested, training.save);
  trainer.write_json(
      data.train.name, options.model,
      {{"norm", options.norms.norm}, {"batch", training.batch}, {"ema", options.ema}, {"tta", options.tta}});
  return 0;
}

int run(Options& options, int argc, char** argv) {
  const nn::Workers workers = options.training.start(argc, argv);
  const Data data = find_data(options.data, {DataFormat::cifar10, DataFormat::cifar100});
  const ChannelStats stats = channel_stats(data.train.images);
  return status_of_workers(workers, [&](nn::Worker& me) { return train_and_test(options, data, stats, me); });
}

}  // namespace
}  // namespace examples

int main(int argc, char** argv) {
  examples::Options options;
  CLI::App app("Trains a network on CIFAR-10 or CIFAR-100.");
  app.option_defaults()->always_capture_default()->take_last();
  app.add_option("--model", options.model, "resnet20, 32, 44, 56 or 110; resnet18; vgg11")
      ->check(CLI::IsMember(examples::kModels));
  options.data.add_to(app);
  options.training.add_to(app);
  app.add_option("--schedule", options.schedule, "of the learning rate: onecycle, cosine, or step (as He et al.)")
      ->check(CLI::IsMember({"onecycle", "cosine", "step"}));
  app.add_option("--momentum", options.momentum, "of SGD, after Nesterov")->check(CLI::Range(0.0, 0.9999));
  app.add_option("--weight-decay", options.weight_decay, "not of norms and biases")->check(examples::at_least(0));
  app.add_option("--label-smoothing", options.smoothing, "share of the target spread over all classes")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--crop", options.crop, "shift pictures by up to so many pixels")->check(CLI::Range(0, 32));
  app.add_option("--padding", options.padding, "what comes into shifted pictures: reflect, black")
      ->check(CLI::IsMember({"reflect", "black"}));
  app.add_option("--flip", options.flip, "mirror pictures: random, alternating (every other epoch), none")
      ->check(CLI::IsMember({"random", "alternating", "none"}));
  app.add_option("--cutout", options.cutout, "blacken a square of so many pixels a side")->check(CLI::Range(0, 32));
  app.add_option("--ema", options.ema, "test an average of the weights with this decay a step; 0: the weights")
      ->check(CLI::Range(0.0, 0.999999));
  app.add_option("--precise", options.precise, "pictures from which the average's populations are estimated")
      ->check(examples::at_least(1));
  app.add_flag("--tta", options.tta, "test by the mean of what is said to a picture and to its mirror image");
  options.norms.add_to(app);
  return examples::run_program(app, argc, argv, [&] { return examples::run(options, argc, argv); });
}
