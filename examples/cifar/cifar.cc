// Trains residual networks, VGG-11 or airbench's network on CIFAR-10 or CIFAR-100 (binary version), with any norm of
// the family.
//
//   cifar                                       ResNet-20, 30 epochs; scripts/get_data cifar10 fetches the data
//   cifar --model resnet56 --norm gn:8          another depth, another norm (--help lists them)
//   cifar --resume run --plot run.svg           keeps a checkpoint, also on Ctrl-C, and goes on from it; draws curves
//   cifar --ema 0.995 --tta                     tests the average of the weights, on mirror images too
//   cifar --recipe fast                         all options as of one who found them (docs/fast_cifar.md); any other
//                                               that is given, as --batch 512, holds
//   mpirun -n 4 cifar --norm sync:2             four replicas, one a process; batch norm over two of them each
#include <norma/norma.h>

#include "examples/cifar/augment.h"
#include "examples/cifar/lookahead.h"
#include "examples/cifar/models.h"
#include "examples/cifar/recipes.h"
#include "examples/cifar/rules.h"
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
  RuleOptions rules;
  std::string recipe, model = "resnet20", flip = "random", padding = "reflect";
  int64_t crop = 4, cutout = 0, precise = 10'000, lookahead = 0, views = 1, ghost = 0;
  double smoothing = 0.05, ema = 0;
  bool drop_last = false;
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

// What a result depends on, besides what TrainingOptions and NormOptions know of.
std::map<std::string, std::string> fingerprint(const Options& options) {
  const RuleOptions& o = options.rules;
  return {{"model", options.model},
          {"schedule", o.schedule},
          {"augmentation",
           fmt::format("crop {} {}, flip {}, cutout {}", options.crop, options.padding, options.flip, options.cutout)},
          {"drop_last", fmt::format("{}", options.drop_last)},
          {"optimizer", o.optimizer == "sgd" ? "sgd" : fmt::format("muon {}, {}", o.muon_lr, o.muon_momentum)},
          {"momentum", fmt::format("{}{}", o.momentum, o.nesterov ? "" : ", not Nesterov's")},
          {"weight_decay", fmt::format("{} of {}", o.weight_decay, o.decay)},
          {"bias_lr", fmt::format("{}, stem {} for {} epochs", o.bias_lr, o.stem_lr, o.stem_epochs)},
          {"label_smoothing", fmt::format("{}", options.smoothing)},
          {"lookahead", fmt::format("{}", options.lookahead)},
          {"ema", fmt::format("{}", options.ema)}};
}

// What each worker does.
int train_and_test(const Options& options, const Data& data, const ChannelStats& stats, nn::Worker& me) {
  const TrainingOptions& training = options.training;
  const Device device = Device::parse(training.device);
  const Shape image = data.train.images.shape().without(0);
  DataLoader train(data.train, {.batch = training.batch,
                                .shuffle = true,
                                .drop_last = options.drop_last,
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
  if (auto* net = dynamic_cast<Airbench*>(model.get()))
    net->whiten.weight = whitening_filters(data.train.images, stats).to(device);
  if (!training.load.empty() && me.first()) nn::load(*model, training.load);
  nn::broadcast(me, *model);
  const int64_t steps = training.steps(train.batches());
  RuleOptions rule_options = options.rules;
  rule_options.lr = training.lr;
  Rules rules(*model, rule_options, steps, train.batches());
  std::optional<Lookahead> lookahead;
  if (options.lookahead > 0) lookahead.emplace(*model, options.lookahead, steps);
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
  nn::TrainingRun state{*model, rules.optimizers(), {}, training.fingerprint(data.train), &me};
  if (average || lookahead) state.models = {{"model", *model}};
  if (average) state.models.emplace_back("average", *average);
  if (lookahead) state.models.emplace_back("lookahead", *lookahead);
  state.fingerprint.merge(options.norms.fingerprint());
  state.fingerprint.merge(fingerprint(options));
  Trainer trainer(training, "cifar", state, train);
  const auto step = [&](const Batch& batch, int64_t number) -> StepResult {
    rules.begin(number);
    Tape tape;
    const Tensor logits = (*model)(batch.images);
    const Tensor loss = cross_entropy(logits, batch.labels, {.label_smoothing = options.smoothing});
    tape.backward(loss * batch.weight);
    rules.end(number, &me);
    nn::average_populations(me, *model);
    if (lookahead) lookahead->update(number + 1);
    if (average) average->update();
    return {loss, logits};
  };
  Evaluation result;
  bool has_population = false;
  nn::for_each_norm(*model, [&](const std::string&, nn::Norm& layer) { has_population |= layer.has_population(); });
  const auto evaluate_model = [&]() -> Metrics {
    options.norms.estimate(*model, plain);
    if (average && has_population) nn::precise_bn(*averaged, plain, {.samples = options.precise});
    result = evaluate(tested, test, device, options.views);
    return {{"test_accuracy", result.table.accuracy()}, {"test_loss", result.loss}};
  };
  if (const int signal = trainer.run(step, evaluate_model)) return 128 + signal;

  // Result
  if (!me.first()) return 0;
  if (data.test.classes() <= 20) fmt::print("\n{}", result.table.str());
  fmt::print("\ntest accuracy {:.4f} (loss {:.4f}) after {} epoch{} in {}\n", result.table.accuracy(), result.loss,
             training.epochs, training.epochs == 1 ? "" : "s", duration(trainer.seconds()));
  if (options.views > 1) fmt::print("by one view {:.4f}, by {} as above\n", result.single_accuracy, options.views);
  if (!training.save.empty()) nn::save(tested, training.save);
  trainer.write_json(data.train.name, options.model,
                     {{"norm", options.norms.norm},
                      {"batch", training.batch},
                      {"ema", options.ema},
                      {"recipe", options.recipe},
                      {"views", options.views},
                      {"single_view_accuracy", result.single_accuracy}});
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
  bool two_views = false;
  CLI::App app("Trains a network on CIFAR-10 or CIFAR-100.");
  app.option_defaults()->always_capture_default()->take_last();
  app.add_option("--recipe", options.recipe,
                 "begin with the options of: " + CLI::detail::join(examples::recipe_names(), ", ") +
                     "; what else is given holds, before or behind it")
      ->check(CLI::IsMember(examples::recipe_names()));
  app.add_option("--model", options.model, "resnet20, 32, 44, 56 or 110; resnet18; vgg11; airbench93 or 94")
      ->check(CLI::IsMember(examples::kModels));
  options.data.add_to(app);
  options.training.add_to(app);
  app.add_flag("--drop-last", options.drop_last, "leave out an epoch's last batch if it is smaller than the others");
  options.rules.add_to(app);
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
  app.add_option("--lookahead", options.lookahead, "steps between two of Lookahead's; 0: none")
      ->check(examples::at_least(0));
  CLI::Option* views = app.add_option("--views", options.views,
                                      "test by the mean of what is said to a picture (1) and to its mirror "
                                      "image (2), and to both shifted (6)")
                           ->check(CLI::IsMember({1, 2, 6}));
  CLI::Option* tta = app.add_flag("--tta", two_views, "the same as --views 2")->excludes(views);
  options.norms.add_to(app);
  CLI::Option* ghost = app.add_option("--ghost", options.ghost, "the same as --norm bn:K")
                           ->check(examples::at_least(1))
                           ->excludes(app.get_option("--norm"));
  return examples::run_program(app, argc, argv, [&] {
    if (tta->count() > 0) examples::set_unless_given(app, "--views", "2");
    if (ghost->count() > 0) examples::set_unless_given(app, "--norm", fmt::format("bn:{}", options.ghost));
    if (!options.recipe.empty())
      for (const auto& [option, value] : examples::recipes().at(options.recipe))
        examples::set_unless_given(app, option, value);
    return examples::run(options, argc, argv);
  });
}
