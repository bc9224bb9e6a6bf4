#include "examples/common/training.h"

#include <sched.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>

#include "examples/common/plot.h"
#include "examples/common/program.h"
#include "examples/common/progress.h"
#include "examples/common/workers.h"

namespace examples {
namespace {

using namespace norma;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

// "loss 0.4123  accuracy 0.8510" of {"train_loss", 0.4123}, ...: what the line says is of training needs no saying.
std::string words(const Metrics& metrics) {
  std::string text;
  for (const auto& [name, value] : metrics) {
    std::string word = name.starts_with("train_") ? name.substr(6) : name;
    std::replace(word.begin(), word.end(), '_', ' ');
    text += fmt::format("{}{} {:.4f}", text.empty() ? "" : "  ", word, value);
  }
  return text;
}

// How many threads this process takes where neither the user nor $NORMA_NUM_THREADS says it: one for each core that it
// is bound to. Several processes of a machine that are bound to nothing, or to the same socket, take no more in all
// than there are cores for mpirun, their parent.
int threads_of_process() {
  const char* local = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  const int processes = local ? std::atoi(local) : 1;
  cpu_set_t all;
  if (processes <= 1 || std::getenv("NORMA_NUM_THREADS") || ::sched_getaffinity(::getppid(), sizeof all, &all) != 0)
    return num_threads();
  return std::clamp(CPU_COUNT(&all) / processes, 1, num_threads());
}

}  // namespace

void TrainingOptions::add_to(CLI::App& app) {
  app.add_option("--epochs", epochs, "9.5: the last one is left after half of it")->check(at_least(0));
  app.add_option("--batch", batch, "pictures in a batch")->check(at_least(1));
  app.add_option("--lr", lr, "learning rate, the largest of the schedule")->check(at_least(0));
  app.add_option("--seed", seed, "of the weights, the order, the augmentation");
  app.add_option("--threads", threads, "of each process; 0: $NORMA_NUM_THREADS, or every core, or its part of them")
      ->check(CLI::Range(0, 1024));
  app.add_option("--workers", workers, "replicas of the model that batches are divided among; 0: one a process")
      ->check(CLI::Range(0, 65536));
  app.add_option("--exchange-timeout", exchange_timeout, "seconds that a worker waits for the others")
      ->check(at_least(0.001));
  app.add_option("--device", device, "cpu, cuda, cuda:1, ...");
  app.add_option("--save", save, "write the weights to this file (safetensors)");
  app.add_option("--load", load, "begin with the weights in this file");
  app.add_option("--resume", resume, "keep a checkpoint in this folder, and go on from it if there is one");
  app.add_option("--log", log, "append a record of the run to this file (JSON lines)");
  app.add_option("--log-every", log_every, "steps between two looks at the loss")->check(at_least(1));
  app.add_option("--eval-every", eval_every, "epochs between two evaluations; the last is always evaluated")
      ->check(at_least(1));
  app.add_option("--tensorboard", tensorboard,
                 "write curves, pictures and histograms of the weights to this folder, for TensorBoard");
  app.add_option("--json", json, "write the result to this file");
  app.add_option("--plot", plot, "draw the curves to this file, .svg or .png (by gnuplot), and write them to .csv")
      ->check([](const std::string& path) {
        return path.ends_with(".svg") || path.ends_with(".png") ? "" : "it ends neither in .svg nor in .png: " + path;
      });
}

nn::Workers TrainingOptions::start(int argc, char** argv) {
  nn::Workers joined(argc, argv, {.count = workers, .timeout = exchange_timeout});
  set_num_threads(threads > 0 ? threads : threads_of_process());
  threads = num_threads();
  workers = joined.count();
  processes = joined.processes();
  manual_seed(seed);
  return joined;
}

int64_t TrainingOptions::steps(int64_t batches) const {  // less a rounding error: 1.1 * 50 is more than 55
  return static_cast<int64_t>(std::ceil(std::min(epochs * static_cast<double>(batches), 1e15) * (1 - 1e-12)));
}

Json TrainingOptions::epochs_json() const {
  return epochs == std::floor(epochs) && epochs < 1e15 ? Json(static_cast<int64_t>(epochs)) : Json(epochs);
}

std::string TrainingOptions::place() const {
  std::string text = fmt::format("{} with {} threads", Device::parse(device), threads);
  if (processes > 1) text += fmt::format(" in each of {} processes", processes);
  return workers > 1 ? fmt::format("{}, by {} workers", text, workers) : text;
}

std::map<std::string, std::string> TrainingOptions::fingerprint(const data::ImageDataset& train) const {
  std::map<std::string, std::string> result = {{"data", train.name},
                                               {"pictures", std::to_string(train.size())},
                                               {"epochs", fmt::format("{}", epochs)},
                                               {"batch", std::to_string(batch)},
                                               {"lr", fmt::format("{}", lr)},
                                               {"seed", std::to_string(seed)},
                                               {"load", load},
                                               {"device", Device::parse(device).str()}};
  if (workers > 1) result["workers"] = std::to_string(workers);
  return result;
}

int64_t count_parameters(nn::Module& model) {
  int64_t count = 0;
  for (const Tensor& p : model.parameters()) count += p.numel();
  return count;
}

double Trainer::Meter::look(nn::Worker& me, const StepResult& result, const Tensor& labels) {
  const bool classifies = result.logits.defined();
  const double samples = static_cast<double>(labels.numel());
  double loss = samples > 0 ? result.loss.item() : 0, accuracy = 0;
  if (classifies && samples > 0)
    accuracy = mean(eq(argmax(result.logits, -1), labels.to(result.logits.device())).to(f32)).item();
  if (me.size() > 1) {
    const std::vector<double> sums = sum_of_workers(me, {loss * samples, accuracy * samples, samples});
    loss = sums[0] / sums[2];
    accuracy = sums[1] / sums[2];
  }
  loss_sum += loss;
  ++looks;
  accuracy_sum += accuracy;
  accuracies += classifies;
  return loss;
}

Metrics Trainer::Meter::means() const {
  Metrics metrics = {{"train_loss", loss_sum / static_cast<double>(std::max<int64_t>(looks, 1))}};
  if (accuracies > 0) metrics.emplace_back("train_accuracy", accuracy_sum / static_cast<double>(accuracies));
  return metrics;
}

Trainer::Trainer(const TrainingOptions& options, std::string program, const nn::TrainingRun& run,
                 data::DataLoader& train)
    : options_(options),
      program_(std::move(program)),
      run_(run),
      me_(*run.worker),
      train_(train),
      log_(me_.first() ? options.log : "") {
  if (!options_.resume.empty()) {
    if (first_says(me_, [&] { return std::filesystem::exists(checkpoint(options_.resume)); })) resume();
    else if (me_.first()) std::filesystem::create_directories(options_.resume);
  }
  if (me_.first() && !options_.tensorboard.empty())
    events_.emplace(options_.tensorboard + "/" + program_, options_.resume.empty() ? 0 : progress_.step + 1);
}

void Trainer::save(const std::string& folder) {
  const Json state = {{"seconds", seconds_},
                      {"epoch_seconds", epoch_seconds_},
                      {"meter", {meter_.loss_sum, meter_.accuracy_sum, meter_.looks, meter_.accuracies}},
                      {"history", history_}};
  progress_.metadata = {{"trainer", state.dump()}};
  nn::save_checkpoint(checkpoint(folder), run_, progress_);
}

void Trainer::resume() {
  const std::string path = checkpoint(options_.resume);
  progress_ = nn::load_checkpoint(path, run_);
  try {
    const Json state = Json::parse(progress_.metadata["trainer"]);
    const auto number = [](const Json& value) { return value.is_null() ? std::nan("") : value.get<double>(); };
    seconds_ = state.at("seconds");
    epoch_seconds_ = state.at("epoch_seconds");
    const Json& meter = state.at("meter");
    meter_ = {number(meter.at(0)), number(meter.at(1)), meter.at(2), meter.at(3)};
    history_ = state.at("history").get<std::vector<Json>>();
  } catch (const Json::exception& error) {
    fail(program_, "'{}' does not hold the state of a trainer: {}", path, error.what());
  }
  train_.seek({progress_.epoch, progress_.batch});
  if (!me_.first()) return;
  const std::string part = progress_.batch > 0 ? fmt::format(" and {} batches", progress_.batch) : "";
  fmt::print("resume {}, after epoch {} of {}{}\n", path, progress_.epoch, options_.epochs, part);
}

int Trainer::stop(int signal) {
  std::string folder = options_.resume;  // which worker 0 writes to
  for (int i = 1; me_.first() && (folder.empty() || (options_.resume.empty() && std::filesystem::exists(folder))); ++i)
    folder = i == 1 ? fmt::format("{}-stopped", program_) : fmt::format("{}-stopped-{}", program_, i);
  if (me_.first()) std::filesystem::create_directories(folder);
  save(folder);
  if (!me_.first()) return signal;
  draw();
  const std::string how = options_.resume.empty() ? fmt::format("with --resume {}", folder) : "again";
  fmt::print("stopped after step {}, in epoch {} of {}: {} is written. To go on, give the same command {}\n",
             progress_.step, progress_.epoch + 1, options_.epochs, checkpoint(folder), how);
  return signal;
}

Metrics Trainer::evaluate(const std::function<Metrics()>& how) {
  if (me_.size() > 1)
    for (const auto& [_, model] : run_.models) nn::check_replicas(me_, model);
  return how();
}

int Trainer::run(const std::function<StepResult(const data::Batch&, int64_t)>& step,
                 const std::function<Metrics()>& evaluate) {
  const Interrupt interrupt;
  const int64_t steps = options_.steps(train_.batches());
  const int64_t last = (steps + train_.batches() - 1) / train_.batches();  // epoch, from 1
  while (progress_.epoch < last) {
    const int64_t epoch = progress_.epoch + 1, size = train_.dataset().size();
    const std::string label = fmt::format("epoch {}/{}", epoch, options_.epochs);
    const Clock::time_point start = Clock::now();
    const double seconds_before = seconds_, epoch_before = epoch_seconds_;
    ProgressBar bar(label, size);
    for (const data::Batch& batch : train_) {
      if (progress_.step == steps) break;
      const StepResult result = step(batch, progress_.step);
      progress_.batch = train_.position().batch;
      const int64_t seen = std::min(progress_.batch * train_.options().batch, size);
      const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
      seconds_ = seconds_before + elapsed;
      epoch_seconds_ = epoch_before + elapsed;
      const bool ends = ++progress_.step == steps || progress_.batch == train_.batches();
      if (ends || progress_.step % options_.log_every == 0) {
        const double loss = meter_.look(me_, result, batch.labels);
        const double speed = static_cast<double>(seen) / epoch_seconds_;
        if (me_.first()) bar.update(seen, fmt::format("{}  {:.0f} images/s", words(meter_.means()), speed));
        log_.write({{"epoch", epoch},
                    {"step", progress_.step},
                    {"lr", run_.optimizers[0].second.get().lr()},
                    {"loss", loss},
                    {"images_per_second", speed}});
        if (events_) {
          events_->scalar("step/loss", progress_.step, loss);
          events_->scalar("step/lr", progress_.step, run_.optimizers[0].second.get().lr());
          events_->scalar("step/images_per_second", progress_.step, speed);
          if (ends) show(batch, result);
        }
      }
      const int signal = signal_of_workers(me_, interrupt);
      if (signal == 0) continue;
      bar.clear();
      return stop(signal);
    }

    const int64_t served = std::min(progress_.batch * train_.options().batch, size);
    const double speed = static_cast<double>(served) / epoch_seconds_;
    Metrics metrics = meter_.means();
    if (epoch % options_.eval_every == 0 || epoch == last) {
      result_ = this->evaluate(evaluate);
      metrics.insert(metrics.end(), result_.begin(), result_.end());
    }
    bar.clear();
    if (me_.first())
      fmt::print("{}  {}  {:.0f} images/s  {}\n", label, words(metrics), speed, duration(epoch_seconds_));
    std::fflush(stdout);
    Json line;
    line["epoch"] = epoch;
    for (const auto& [name, value] : metrics) line[name] = value;
    line["seconds"] = epoch_seconds_;
    line["images_per_second"] = speed;
    log_.write(line);
    history_.push_back(line);
    for (const auto& [name, value] : metrics)
      if (events_) events_->scalar("epoch/" + name, progress_.step, value);

    progress_.epoch = epoch;
    progress_.batch = 0;
    meter_ = {};
    epoch_seconds_ = 0;
    const int signal = epoch < last ? signal_of_workers(me_, interrupt) : 0;
    if (signal != 0) return stop(signal);
    if (options_.resume.empty()) continue;
    try {
      save(options_.resume);
    } catch (const Error& error) {
      if (me_.first())
        fmt::print(stderr, "warning: no checkpoint of this epoch, any older one is kept: {}\n", error.what());
    }
  }
  if (result_.empty()) result_ = this->evaluate(evaluate);
  draw();
  return 0;
}

// To TensorBoard, behind an epoch: pictures of its last batch as the model sees them, with what it says of them, and
// histograms of the weights and of the populations of the norms.
void Trainer::show(const data::Batch& batch, const StepResult& result) {
  const int64_t count = std::min<int64_t>(batch.size(), 16);
  if (const int64_t channels = batch.images.dim(-1); count > 0 && (channels == 1 || channels == 3)) {
    const auto first = [&](const Tensor& x) { return view::slice(x.to(cpu_device), 0, 0, count); };
    const auto& [mean, deviation] = train_.normalization();
    const Tensor seen = first(batch.images).to(f64) * tensor(deviation, {channels}) + tensor(mean, {channels});
    const Tensor pixels = (clamp(seen, 0, 1) * 255 + 0.5).to(u8);
    std::vector<Picture> pictures;
    if (result.logits.defined())
      pictures = labelled(pixels, first(result.logits), first(batch.labels),
                          dynamic_cast<const data::ImageDataset&>(train_.dataset()).class_names);
    for (int64_t i = 0; i < count && !result.logits.defined(); ++i)
      pictures.push_back({view::reshape(view::slice(pixels, 0, i, i + 1), pixels.shape().without(0))});
    events_->picture("pictures/train", progress_.step, encode_png(pictures));
  }
  nn::Module& model = run_.models[0].second;
  for (const auto& [path, weight] : model.named_parameters())
    events_->histogram("weights/" + path, progress_.step, weight);
  for (const auto& [path, buffer] : model.named_buffers())
    if (buffer.is_floating()) events_->histogram("statistics/" + path, progress_.step, buffer);
}

// A panel for each "train_x", "test_x" of the history.
void Trainer::draw() const {
  if (!me_.first() || options_.plot.empty() || history_.empty()) return;
  std::vector<Panel> panels;
  for (const Json& line : history_)
    for (const auto& [name, value] : line.items()) {
      const size_t end = name.find('_');
      const std::string part = name.substr(0, end);
      if ((part != "train" && part != "test") || !value.is_number()) continue;
      const std::string what = name.substr(end + 1);
      auto panel = std::find_if(panels.begin(), panels.end(), [&](const Panel& p) { return p.title == what; });
      if (panel == panels.end()) panel = panels.insert(panel, Panel{what, "epoch", what, {}});
      auto& curves = panel->curves;
      auto curve = std::find_if(curves.begin(), curves.end(), [&](const Curve& c) { return c.label == part; });
      if (curve == curves.end()) curve = curves.insert(curve, Curve{part, {}, {}});
      curve->x.push_back(line.at("epoch"));
      curve->y.push_back(value);
    }
  fmt::print("curves {}\n", plot(options_.plot, panels));
}

void Trainer::write_json(const std::string& dataset, const std::string& model, const Json& more) const {
  if (!me_.first() || options_.json.empty()) return;
  const int64_t batch = train_.options().batch, batches = train_.batches();
  const int64_t epoch = std::min(batches * batch, train_.dataset().size());  // pictures in one
  const double images = static_cast<double>(progress_.step / batches * epoch + progress_.step % batches * batch);
  Json result = {{"program", program_}, {"dataset", dataset}, {"model", model}, {"epochs", options_.epochs_json()}};
  for (const auto& [name, value] : result_) result[name] = value;
  result["train_seconds"] = seconds_;
  result["images_per_second"] = seconds_ > 0 ? images / seconds_ : 0;
  result["peak_memory_bytes"] = peak_memory();
  result["device"] = Device::parse(options_.device).str();
  result["threads"] = options_.threads;
  if (me_.size() > 1) {
    result["workers"] = options_.workers;
    result["processes"] = options_.processes;
  }
  result["seed"] = options_.seed;
  result.update(more);
  write_file_atomic(options_.json, result.dump(2) + "\n");
}

}  // namespace examples
