// What the trainers share: the options of their command lines, and Trainer, the loop over epochs with all that stands
// around a training step: progress, log, TensorBoard, checkpoints, resuming, Ctrl-C, curves. The step itself is the
// program's.
#pragma once

#include <norma/norma.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "examples/common/event_file.h"
#include "examples/common/run_log.h"

namespace CLI {
class App;
}

namespace examples {

struct TrainingOptions {
  std::string device = "cpu", save{}, load{}, resume{}, log{}, json{}, plot{}, tensorboard{};
  double epochs = 5;  // 9.9: of the tenth, nine tenths
  int64_t batch = 128, log_every = 20, eval_every = 1;
  int threads = 0, workers = 0, processes = 1;
  double lr = 0.1, exchange_timeout = 60;
  uint64_t seed = 1;

  void add_to(CLI::App& app);
  // Joins the other processes, if mpirun has started several, and sets threads and seed. Then `threads` (of this
  // process), `workers` and `processes` say how many there are.
  norma::nn::Workers start(int argc, char** argv);
  int64_t steps(int64_t batches) const;        // in all, where an epoch has so many batches
  nlohmann::ordered_json epochs_json() const;  // as a whole number where it is one
  std::string place() const;                   // "cpu with 2 threads": where it trains, for the user
  // What the result depends on; a program adds its own (see nn::TrainingRun).
  std::map<std::string, std::string> fingerprint(const norma::data::ImageDataset& train) const;
};

// What a step tells, on the device: the mean loss of the batch, and for classifiers the logits. Of several workers,
// each tells of its share, which may be empty.
struct StepResult {
  norma::Tensor loss;      // []
  norma::Tensor logits{};  // [B, classes], or undefined: no accuracy is counted then
};
using Metrics = std::vector<std::pair<std::string, double>>;  // {"test_loss", 0.31}, ...

int64_t count_parameters(norma::nn::Module& model);

class Trainer {
 public:
  // Goes on from the checkpoint in options.resume, if there is one, and says so. Each worker has a trainer, and names
  // itself in run.worker; that of worker 0 prints, logs, draws and writes.
  Trainer(const TrainingOptions& options, std::string program, const norma::nn::TrainingRun& run,
          norma::data::DataLoader& train);

  // Runs the epochs that are left. step: forward, backward and the optimizer's step for one batch; it is told the
  // number of the step, from 0. evaluate: runs behind each options.eval_every epochs and behind the last one, and if
  // there was none; that the workers' models are the same is checked before. Returns 0, or where it was stopped the
  // signal: then a checkpoint has been written (without options.resume in a new folder) and the user been told how to
  // go on. Behind an epoch, a checkpoint that cannot be written is a warning.
  int run(const std::function<StepResult(const norma::data::Batch& batch, int64_t step)>& step,
          const std::function<Metrics()>& evaluate);

  double seconds() const { return seconds_; }  // spent in training, former runs included, without evaluation
  // To options.json, if that is given: the options, what the last evaluation returned, speed and memory, and `more`.
  void write_json(const std::string& dataset, const std::string& model, const nlohmann::ordered_json& more) const;

 private:
  // Losses and accuracies of the batches that were looked at: every so many steps, since a look waits for the device.
  struct Meter {
    double loss_sum = 0, accuracy_sum = 0;
    int64_t looks = 0, accuracies = 0;
    // Returns the loss of the batch: of all workers' shares.
    double look(norma::nn::Worker& me, const StepResult& result, const norma::Tensor& labels);
    Metrics means() const;
  };

  std::string checkpoint(const std::string& folder) const { return folder + "/" + program_ + ".checkpoint"; }
  void save(const std::string& folder);
  void resume();
  Metrics evaluate(const std::function<Metrics()>& how);
  int stop(int signal);
  void draw() const;
  void show(const norma::data::Batch& batch, const StepResult& result);

  const TrainingOptions options_;
  const std::string program_;
  const norma::nn::TrainingRun run_;
  norma::nn::Worker& me_;
  norma::data::DataLoader& train_;
  RunLog log_;
  std::optional<EventFile> events_;  // for TensorBoard

  // What a checkpoint keeps besides `run_`.
  norma::nn::Progress progress_;
  Meter meter_;                                  // of the epoch that is under way
  double epoch_seconds_ = 0, seconds_ = 0;       // in that epoch; in all
  std::vector<nlohmann::ordered_json> history_;  // a line for each epoch, as they are logged
  Metrics result_;                               // of the last evaluation
};

}  // namespace examples
