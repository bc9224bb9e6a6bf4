// Trains a small convolutional network on pictures in MNIST's format: Fashion-MNIST from the Debian package, MNIST, or
// any other; without any file, on digits that it draws itself.
//
//   mnist                                  five epochs, a confusion table, the accuracy
//   mnist --epochs 5 --save net.safetensors
//   mnist --resume run                     writes run/mnist.checkpoint after each epoch, and goes on from there
//   mnist --plot run.svg                   draws the curves
//   mnist --epochs 0 --load net.safetensors    tests only
//   mnist --norm gn:8                      another norm (--help lists them); --population, --eval-stats as well
//   mpirun -n 2 mnist --workers 4          four replicas of the net, in two processes
#include <norma/norma.h>

#include "examples/common/evaluation.h"
#include "examples/common/find_data.h"
#include "examples/common/norm_options.h"
#include "examples/common/program.h"
#include "examples/common/progress.h"
#include "examples/common/training.h"
#include "examples/common/workers.h"
#include "examples/mnist/model.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::data;

struct Options {
  TrainingOptions training{.epochs = 5, .batch = 128, .lr = 6e-3};
  DataOptions data;
  NormOptions norms;
};

// The weights, with what infer needs to know besides.
void save_model(nn::Module& model, const Data& data, const ChannelStats& stats, const NormOptions& norms,
                const std::string& path) {
  const Shape image = data.train.images.shape().without(0);
  const nlohmann::json about = {
      {"data", data.train.name},           {"image", std::vector<int64_t>(image.begin(), image.end())},
      {"classes", data.train.class_names}, {"mean", stats.mean},
      {"deviation", stats.deviation},      {"norm", norms.norm},
      {"eval_stats", norms.eval_stats}};
  save_safetensors(path, model.state_dict(), {{"layout", "norma"}, {"program", "mnist"}, {"about", about.dump()}});
}

// What each worker does.
int train_and_test(const Options& options, const Data& data, const ChannelStats& stats, nn::Worker& me) {
  const TrainingOptions& training = options.training;
  const Device device = Device::parse(training.device);
  std::vector<Transform> transforms;  // no shifts: in so few epochs they cost more than they bring
  if (data.mirrors) transforms.push_back(random_horizontal_flip());
  DataLoader train(data.train, {.batch = training.batch,
                                .shuffle = true,
                                .seed = training.seed,
                                .device = device,
                                .transforms = transforms,
                                .normalize = stats,
                                .worker = me});
  DataLoader test(data.test, {.batch = 500, .device = device, .normalize = train.normalization(), .worker = me});

  // Model, optimizer, schedule
  const Shape image = data.train.images.shape().without(0);
  const NormChoice norm = parse_norm(options.norms.norm, &me);
  SmallCnn model(image, data.train.classes(), norm.layer, norm.standardized);
  options.norms.configure(model);
  model.to(device);
  if (!training.load.empty() && me.first()) nn::load(model, training.load);
  nn::broadcast(me, model);
  nn::AdamW optimizer(
      model, {.lr = training.lr, .weight_decay = 0.01, .groups = {{nn::is_norm_or_bias, {.weight_decay = 0}}}});
  const nn::OneCycleLR schedule{.max_lr = training.lr, .steps = training.steps(train.batches()), .up = 0.2};
  if (me.first()) {
    fmt::print("data   {}: {} + {} pictures {}\n", data.origin, data.train.size(), data.test.size(), image);
    fmt::print("model  small CNN, norm {}, {} parameters, on {}\n", options.norms.norm, count_parameters(model),
               training.place());
  }

  // Training
  nn::TrainingRun state{model, optimizer, {}, training.fingerprint(data.train), &me};
  state.fingerprint.merge(options.norms.fingerprint());
  Trainer trainer(training, "mnist", state, train);
  const auto step = [&](const Batch& batch, int64_t number) -> StepResult {
    optimizer.set_lr(schedule(number));
    optimizer.zero_grad();
    Tape tape;
    const Tensor logits = model(batch.images);
    const Tensor loss = cross_entropy(logits, batch.labels);
    tape.backward(loss * batch.weight);
    nn::average_gradients(me, optimizer);
    optimizer.step();
    nn::average_populations(me, model);
    return {loss, logits};
  };
  Evaluation result;
  const auto evaluate_model = [&]() -> Metrics {
    options.norms.estimate(model, train);
    result = evaluate(model, test, device);
    return {{"test_accuracy", result.table.accuracy()}, {"test_loss", result.loss}};
  };
  if (const int signal = trainer.run(step, evaluate_model)) return 128 + signal;

  // Result
  if (!me.first()) return 0;
  fmt::print("\n{}\ntest accuracy {:.4f} (loss {:.4f}) after {} epoch{} in {}\n", result.table.str(),
             result.table.accuracy(), result.loss, training.epochs, training.epochs == 1 ? "" : "s",
             duration(trainer.seconds()));
  if (!training.save.empty()) save_model(model, data, stats, options.norms, training.save);
  trainer.write_json(data.train.name, "small-cnn", {{"norm", options.norms.norm}});
  return 0;
}

int run(Options& options, int argc, char** argv) {
  const nn::Workers workers = options.training.start(argc, argv);
  const Data data = find_data(options.data, {DataFormat::mnist});
  const ChannelStats stats = channel_stats(data.train.images);
  return status_of_workers(workers, [&](nn::Worker& me) { return train_and_test(options, data, stats, me); });
}

}  // namespace
}  // namespace examples

int main(int argc, char** argv) {
  examples::Options options;
  CLI::App app("Trains a small convolutional network on pictures in MNIST's format.");
  app.option_defaults()->always_capture_default()->take_last();
  options.data.add_to(app);
  options.training.add_to(app);
  options.norms.add_to(app);
  return examples::run_program(app, argc, argv, [&] { return examples::run(options, argc, argv); });
}
