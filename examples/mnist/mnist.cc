// Trains a small convolutional network on pictures in MNIST's format: Fashion-MNIST from the Debian package, MNIST, or
// any other; without any file, on digits that it draws itself.
//
//   mnist                                  five epochs, a confusion table, the accuracy
//   mnist --epochs 5 --save net.safetensors
//   mnist --resume run                     writes run/mnist.checkpoint after each epoch, and goes on from there
//   mnist --epochs 0 --load net.safetensors    tests only
//   mnist --norm gn:8                      another norm (--help lists them); --population, --eval-stats as well
#include <norma/norma.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "examples/common/confusion.h"
#include "examples/common/find_data.h"
#include "examples/common/norm_options.h"
#include "examples/common/progress.h"
#include "examples/common/run_log.h"
#include "examples/mnist/model.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::data;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string data, device = "cpu", save, load, resume, log, json;
  bool synthetic = false;
  int64_t epochs = 5, batch = 128, limit = INT64_MAX, log_every = 20;
  int threads = 0;
  double lr = 6e-3;
  uint64_t seed = 1;
  NormOptions norms;
};

// The losses and the accuracies of the batches that were looked at: every so many steps, since each look waits for the
// device to finish.
struct Meter {
  double loss_sum = 0, accuracy_sum = 0;
  int64_t looks = 0;

  void look(const Tensor& mean_loss, const Tensor& logits, const Tensor& labels) {
    loss_sum += mean_loss.item();
    accuracy_sum += mean(eq(argmax(logits, -1), labels).to(f32)).item();
    ++looks;
  }
  double loss() const { return looks > 0 ? loss_sum / static_cast<double>(looks) : 0; }
  double accuracy() const { return looks > 0 ? accuracy_sum / static_cast<double>(looks) : 0; }
};

struct Evaluation {
  ConfusionTable table;
  double loss;
};

Evaluation evaluate(nn::Module& model, DataLoader& loader, Device device) {
  const nn::EvalMode evaluation(model);
  ConfusionTable table(loader.dataset().class_names);
  double loss = 0;
  for (const Batch& batch : loader) {
    const Tensor labels = batch.labels.to(device), logits = model(batch.images.to(device));
    loss += cross_entropy(logits, labels).item() * static_cast<double>(batch.size());
    table.add(batch.labels, argmax(logits, -1));
  }
  return {table, loss / static_cast<double>(loader.dataset().size())};
}

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

int run(Options& options) {
  if (options.threads > 0) set_num_threads(options.threads);
  const Device device = Device::parse(options.device);
  manual_seed(options.seed);

  // Data
  const Data data = find_mnist(options.data, options.synthetic, options.limit);
  const ChannelStats stats = channel_stats(data.train.images);
  std::vector<Transform> transforms;  // no shifts: in so few epochs they cost more than they bring
  if (data.mirrors) transforms.push_back(random_horizontal_flip());
  DataLoader train(
      data.train,
      {.batch = options.batch, .shuffle = true, .seed = options.seed, .transforms = transforms, .normalize = stats});
  DataLoader test(data.test, {.batch = 500, .normalize = stats});

  // Model, optimizer, schedule
  const Shape image = data.train.images.shape().without(0);
  const nn::NormChoice norm = nn::parse_norm(options.norms.norm);
  SmallCnn model(image, data.train.classes(), norm.layer, norm.standardized);
  options.norms.configure(model);
  model.to(device);
  if (!options.load.empty()) nn::load(model, options.load);
  nn::AdamW optimizer(model, {.lr = options.lr, .weight_decay = 0.01, .decays = nn::decay_matrices});
  const nn::OneCycleLR schedule{.max_lr = options.lr, .steps = options.epochs * train.batches(), .up = 0.2};
  int64_t parameters = 0;
  for (const Tensor& p : model.parameters()) parameters += p.numel();
  fmt::print("data   {}: {} + {} pictures {}\n", data.origin, data.train.size(), data.test.size(), image);
  fmt::print("model  small CNN, norm {}, {} parameters, on {} with {} threads\n", options.norms.norm, parameters,
             device, num_threads());

  // Where a former run stopped
  nn::TrainingRun state{model, optimizer, {}, {}};
  state.fingerprint = {{"data", data.train.name},
                       {"pictures", std::to_string(data.train.size())},
                       {"epochs", std::to_string(options.epochs)},
                       {"batch", std::to_string(options.batch)},
                       {"lr", fmt::format("{}", options.lr)},
                       {"seed", std::to_string(options.seed)},
                       {"load", options.load},
                       {"device", device.str()}};
  state.fingerprint.merge(options.norms.fingerprint());
  nn::Progress progress;
  double seconds = 0;  // spent in training
  const std::string checkpoint = options.resume.empty() ? "" : options.resume + "/mnist.checkpoint";
  if (!checkpoint.empty() && std::filesystem::exists(checkpoint)) {
    progress = nn::load_checkpoint(checkpoint, state);
    train.seek({progress.epoch, progress.batch});
    seconds = std::stod(progress.metadata.at("train_seconds"));
    fmt::print("resume {}, after epoch {} of {}\n", checkpoint, progress.epoch, options.epochs);
  } else if (!checkpoint.empty()) {
    std::filesystem::create_directories(options.resume);
  }

  // Training
  RunLog log(options.log);
  Evaluation result{ConfusionTable({}), 0};
  int64_t& step = progress.step;
  while (progress.epoch < options.epochs) {
    const int64_t epoch = progress.epoch + 1;
    const std::string label = fmt::format("epoch {}/{}", epoch, options.epochs);
    const Clock::time_point start = Clock::now();
    const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
    ProgressBar bar(label, data.train.size());
    Meter meter;
    int64_t seen = 0;
    for (const Batch& batch : train) {
      const double lr = schedule(step);
      optimizer.set_lr(lr);
      optimizer.zero_grad();
      const Tensor labels = batch.labels.to(device);
      Tape tape;
      const Tensor logits = model(batch.images.to(device));
      const Tensor loss = cross_entropy(logits, labels);
      tape.backward(loss);
      optimizer.step();
      seen += batch.size();
      if (++step % options.log_every != 0 && seen < data.train.size()) continue;
      meter.look(loss, logits, labels);
      const double speed = static_cast<double>(seen) / elapsed();
      bar.update(seen,
                 fmt::format("loss {:.3f}  accuracy {:.3f}  {:.0f} images/s", meter.loss(), meter.accuracy(), speed));
      log.write({{"epoch", epoch}, {"step", step}, {"lr", lr}, {"loss", loss.item()}, {"images_per_second", speed}});
    }
    const double epoch_seconds = elapsed(), speed = static_cast<double>(seen) / epoch_seconds;
    seconds += epoch_seconds;
    options.norms.estimate(model, train);
    result = evaluate(model, test, device);
    bar.clear();
    fmt::print("{}  loss {:.4f}  accuracy {:.4f}  test loss {:.4f}  test accuracy {:.4f}  {:.0f} images/s  {}\n", label,
               meter.loss(), meter.accuracy(), result.loss, result.table.accuracy(), speed, duration(epoch_seconds));
    std::fflush(stdout);
    log.write({{"epoch", epoch},
               {"train_loss", meter.loss()},
               {"train_accuracy", meter.accuracy()},
               {"test_loss", result.loss},
               {"test_accuracy", result.table.accuracy()},
               {"seconds", epoch_seconds},
               {"images_per_second", speed}});
    progress.epoch = epoch;
    progress.metadata["train_seconds"] = fmt::format("{}", seconds);
    if (!checkpoint.empty()) nn::save_checkpoint(checkpoint, state, progress);
  }

  // Result
  if (result.table.total() == 0) {
    options.norms.estimate(model, train);
    result = evaluate(model, test, device);
  }
  fmt::print("\n{}\ntest accuracy {:.4f} (loss {:.4f}) after {} epoch{} in {}\n", result.table.str(),
             result.table.accuracy(), result.loss, options.epochs, options.epochs == 1 ? "" : "s", duration(seconds));
  if (!options.save.empty()) save_model(model, data, stats, options.norms, options.save);
  if (!options.json.empty()) {
    const double images = static_cast<double>(options.epochs * data.train.size());
    const nlohmann::ordered_json json = {{"program", "mnist"},
                                         {"dataset", data.train.name},
                                         {"model", "small-cnn"},
                                         {"epochs", options.epochs},
                                         {"test_accuracy", result.table.accuracy()},
                                         {"test_loss", result.loss},
                                         {"train_seconds", seconds},
                                         {"images_per_second", seconds > 0 ? images / seconds : 0},
                                         {"peak_memory_bytes", peak_memory()},
                                         {"threads", num_threads()},
                                         {"seed", options.seed},
                                         {"norm", options.norms.norm}};
    write_file_atomic(options.json, json.dump(2) + "\n");
  }
  return 0;
}

}  // namespace
}  // namespace examples

int main(int argc, char** argv) {
  examples::Options options;
  CLI::App app("Trains a small convolutional network on pictures in MNIST's format.");
  app.option_defaults()->always_capture_default()->take_last();
  app.add_option("--data", options.data, "folder of the data set; default: $NORMA_DATA, then Debian's Fashion-MNIST");
  app.add_flag("--synthetic", options.synthetic, "train on drawn digits, without any file")->excludes("--data");
  app.add_option("--epochs", options.epochs)->check(CLI::NonNegativeNumber);
  app.add_option("--batch", options.batch, "pictures in a batch")->check(CLI::PositiveNumber);
  app.add_option("--lr", options.lr, "largest learning rate of the cycle")->check(CLI::PositiveNumber);
  options.norms.add_to(app);
  app.add_option("--seed", options.seed, "of the weights, the order, the augmentation");
  app.add_option("--limit", options.limit, "use the first so many pictures only, of both parts")
      ->check(CLI::PositiveNumber)
      ->default_str("all");
  app.add_option("--threads", options.threads, "0: $NORMA_NUM_THREADS, or every core")->check(CLI::Range(0, 1024));
  app.add_option("--device", options.device, "cpu, cuda, cuda:1, ...");
  app.add_option("--save", options.save, "write the weights to this file (safetensors)");
  app.add_option("--load", options.load, "begin with the weights in this file");
  app.add_option("--resume", options.resume, "keep a checkpoint in this folder, and go on from it if there is one");
  app.add_option("--log", options.log, "append a record of the run to this file (JSON lines)");
  app.add_option("--log-every", options.log_every, "steps between two looks at the loss")->check(CLI::PositiveNumber);
  app.add_option("--json", options.json, "write the result to this file");
  CLI11_PARSE(app, argc, argv);
  try {
    return examples::run(options);
  } catch (const std::exception& error) {
    std::fflush(stdout);
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
