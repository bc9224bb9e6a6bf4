// The time and the memory of whole steps: forward, cross-entropy, backward, SGD with momentum; or with --infer the
// forward pass in evaluation mode. bench/peers/torch_step.py does the same in PyTorch, from the same weights and data.
//
//   train_step --model resnet20                  ResNet-20 of He et al. 2016, pictures [32, 32, 3]
//   train_step --model resnet18                  ResNet-18 of examples/cifar, of the same pictures
//   train_step --model mnist_cnn --infer         the network of examples/mnist, pictures [28, 28, 1]
//   train_step --model fast --batch 2000         the network of examples/cifar, and what is in a step of that recipe
#include <fmt/format.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "bench/networks.h"
#include "bench/noise.h"
#include "examples/cifar/lookahead.h"
#include "examples/cifar/recipes.h"
#include "examples/cifar/rules.h"
#include "examples/common/program.h"

namespace {

using namespace norma;
using bench::draw, bench::Batch, bench::kClasses;
using Clock = std::chrono::steady_clock;

constexpr int64_t kBatches = 8, kWarmup = 5;
constexpr int64_t kTogether = 10;  // steps on a GPU that are timed as one: the host waits for it behind the last

// Bytes of this process, by /proc/self/status: VmRSS now, VmHWM at most.
int64_t memory(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(field + ":", 0) == 0) return std::stoll(line.substr(field.size() + 1)) * 1024;
  return 0;
}

struct Options {
  std::string model = "resnet20", device = "cpu", conv, weights, save_weights, json;
  int64_t batch = 128, steps = 50;
  int threads = 0;
  bool infer = false, profile = false, tf32 = false;
};

// What a step of a recipe of examples/cifar is made of.
struct RecipeOptions {
  examples::RuleOptions rules;
  double epochs = 0, smoothing = 0;
  int64_t batch = 1, lookahead = 0;
  std::string model, population;

  explicit RecipeOptions(const std::string& name) {
    CLI::App app;
    rules.add_to(app);
    app.add_option("--model", model);
    app.add_option("--population", population);
    app.add_option("--epochs", epochs);
    app.add_option("--batch", batch);
    app.add_option("--lr", rules.lr);
    app.add_option("--label-smoothing", smoothing);
    app.add_option("--lookahead", lookahead);
    for (const auto& [option, value] : examples::recipes().at(name))
      if (app.get_option_no_throw(option)) examples::set_unless_given(app, option, value);
  }
  std::unique_ptr<nn::Module> make_model(int64_t colours) const {
    check(population.starts_with("ema:"), "train_step", "'{}' is no average over time", population);
    const nn::Estimator estimator = nn::Estimator::ema(std::stod(population.substr(4)));
    return examples::make_model(model, kClasses, colours, {.layer = [=](int64_t channels) {
                                  nn::Norm norm = nn::BatchNorm(channels);
                                  norm.estimator = estimator;
                                  return norm;
                                }});
  }
  // Of CIFAR-10's 50,000 pictures, in the recipe's own batches: the schedules are as in a whole training.
  int64_t steps_of_epoch() const { return 50'000 / batch; }
  int64_t steps() const { return static_cast<int64_t>(std::ceil(epochs * static_cast<double>(steps_of_epoch()))); }
};

// Where the time of `steps` went, by op, from what their tapes noted: in ms a step.
void print_profile(const Tape::Profile& profile, double steps, double whole_ms) {
  std::vector<std::pair<std::string, Tape::ProfileRow>> rows(profile.begin(), profile.end());
  std::ranges::sort(rows, std::greater(), [](const auto& row) { return row.second.seconds(); });
  fmt::print("{:<18}{:>7}{:>12}{:>13}{:>9}{:>11}\n", "op", "calls", "forward ms", "backward ms", "share", "saved MB");
  double known = 0;
  for (const auto& [op, row] : rows) {
    const double forward = 1e3 * row.forward_seconds / steps, backward = 1e3 * row.backward_seconds / steps;
    known += forward + backward;
    fmt::print("{:<18}{:>7.0f}{:>12.2f}{:>13.2f}{:>8.1f}%{:>11.1f}\n", op, static_cast<double>(row.calls) / steps,
               forward, backward, 100 * (forward + backward) / whole_ms,
               1e-6 * static_cast<double>(row.bytes_saved) / steps);
  }
  fmt::print("{:<18}{:>41.1f}%\n", "all else", 100 * (whole_ms - known) / whole_ms);
}

int run(const Options& options, Clock::time_point start) {
  if (!options.conv.empty()) ::setenv("NORMA_CONV", options.conv.c_str(), 1);
  if (options.threads > 0) set_num_threads(options.threads);
  if (options.tf32) set_matmul_precision("high");
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts anew
  const int64_t baseline = memory("VmRSS");

  manual_seed(1);
  const Shape image = bench::image_of(options.model);
  const bool plain =
      std::ranges::count(bench::kNetworks, options.model) > 0;  // SGD with momentum; else as a recipe says
  std::optional<RecipeOptions> recipe;
  if (!plain) recipe.emplace(options.model);
  const std::unique_ptr<nn::Module> model = plain ? bench::make_network(options.model) : recipe->make_model(image[2]);
  const nn::StateOptions layout = bench::torch_layout(image);
  if (!options.weights.empty()) nn::load(*model, options.weights, layout);
  if (!options.save_weights.empty()) nn::save(*model, options.save_weights, layout);
  const Device device = Device::parse(options.device);
  const int64_t together = device.is_cuda() ? kTogether : 1;
  model->to(device);
  if (options.infer) model->eval();
  nn::SGD optimizer(*model, {.lr = 0.01, .momentum = 0.9});
  std::optional<examples::Rules> rules;
  std::optional<examples::Lookahead> lookahead;
  if (recipe) {
    rules.emplace(*model, recipe->rules, recipe->steps(), recipe->steps_of_epoch());
    if (recipe->lookahead > 0) lookahead.emplace(*model, recipe->lookahead, recipe->steps());
  }
  const auto begin_step = [&](int64_t step) {
    if (rules) rules->begin(step);
    else optimizer.zero_grad();
  };
  const auto end_step = [&](int64_t step) {
    if (rules) rules->end(step);
    else optimizer.step();
    if (lookahead) lookahead->update(step + 1);
  };
  const CrossEntropyOptions losses_of = {.label_smoothing = recipe ? recipe->smoothing : 0};
  std::vector<Batch> batches;
  for (int64_t b = 0; b < kBatches; ++b) {
    const Batch host = draw(b, image, options.batch);
    batches.push_back({host.images.to(device), host.labels.to(device)});
  }

  std::vector<double> losses, seconds;
  Tape::Profile profile;
  double first_step = 0;  // from the start of the program to the end of its first step
  Clock::time_point begin;
  for (int64_t step = 0; step < options.steps + (options.steps > 0 ? kWarmup : 0); ++step) {
    const Batch& batch = batches[static_cast<size_t>(step % kBatches)];
    if (step < kWarmup || (step - kWarmup) % together == 0) begin = Clock::now();
    Tensor loss, logits;
    if (options.infer) {
      logits = (*model)(batch.images);
      if (step < 3) loss = cross_entropy(logits, batch.labels, losses_of);
    } else {
      begin_step(step);
      Tape tape;
      loss = cross_entropy((*model)(batch.images), batch.labels, losses_of);
      tape.backward(loss);
      end_step(step);
      if (options.profile && step >= kWarmup)
        for (const auto& [op, row] : tape.profile()) profile[op] += row;
    }
    const bool last = step >= kWarmup && (step - kWarmup) % together == together - 1;
    if (device.is_cuda() && (step < kWarmup || last)) (options.infer ? sum(logits) : loss).item();
    const Clock::time_point end = Clock::now();
    if (step < 3) losses.push_back(loss.item());
    if (step == 0) first_step = std::chrono::duration<double>(end - start).count();
    if (last) seconds.push_back(std::chrono::duration<double>(end - begin).count() / static_cast<double>(together));
  }
  if (seconds.empty()) return 0;

  const double mean = std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(seconds.size());
  std::sort(seconds.begin(), seconds.end());
  const auto percentile = [&](double p) {
    return seconds[std::min(seconds.size() - 1, static_cast<size_t>(p * static_cast<double>(seconds.size())))];
  };
  const double median = percentile(0.5), images_per_second = static_cast<double>(options.batch) / median;
  const int64_t peak = memory("VmHWM") - baseline;
  fmt::print(
      "{} {} on {}, batch {}, {} threads: median {:.2f} ms (p10 {:.2f}, p90 {:.2f}), {:.0f} images/s, peak memory "
      "{:.0f} MB above the start, first step ends {:.0f} ms after it, losses {:.6f}\n",
      options.model, options.infer ? "inference" : "training", device, options.batch, num_threads(), 1e3 * median,
      1e3 * percentile(0.1), 1e3 * percentile(0.9), images_per_second, 1e-6 * static_cast<double>(peak),
      1e3 * first_step, fmt::join(losses, " "));
  if (options.profile && !options.infer) print_profile(profile, static_cast<double>(options.steps), 1e3 * mean);
  if (!options.json.empty()) {
    const nlohmann::ordered_json result = {{"model", options.model},
                                           {"infer", options.infer},
                                           {"device", device.str()},
                                           {"batch", options.batch},
                                           {"threads", num_threads()},
                                           {"steps", options.steps},
                                           {"conv", options.conv},
                                           {"median_seconds", median},
                                           {"p10_seconds", percentile(0.1)},
                                           {"p90_seconds", percentile(0.9)},
                                           {"images_per_second", images_per_second},
                                           {"peak_memory_bytes", peak},
                                           {"first_step_seconds", first_step},
                                           {"losses", losses}};
    write_file_atomic(options.json, result.dump(2) + "\n");
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Clock::time_point start = Clock::now();
  Options options;
  CLI::App app("Times whole training steps, or inference.");
  app.option_defaults()->always_capture_default();
  app.add_option("--model", options.model, "airbench94 and fast: the recipes of examples/cifar")
      ->check(CLI::IsMember({"resnet20", "resnet18", "mnist_cnn", "airbench94", "fast"}));
  app.add_option("--device", options.device, "cpu, cuda, cuda:1, ...");
  app.add_option("--batch", options.batch)->check(examples::at_least(1));
  app.add_option("--threads", options.threads, "0: all cores")->check(CLI::Range(0, 1024));
  app.add_option("--steps", options.steps, "to be timed; 0: none, for --save-weights")->check(examples::at_least(0));
  app.add_flag("--infer", options.infer, "the forward pass in evaluation mode");
  app.add_flag("--tf32", options.tf32, "on a GPU: products and convolutions may round their factors to TF32");
  app.add_option("--conv", options.conv, "the convolution algorithm, as the environment variable NORMA_CONV");
  app.add_option("--weights", options.weights, "begin with these (safetensors, PyTorch's layout)");
  app.add_option("--save-weights", options.save_weights, "write the weights that the run begins with, in that layout");
  app.add_flag("--profile", options.profile, "of training: where the time goes, by op");
  app.add_option("--json", options.json, "write the result to this file");
  return examples::run_program(app, argc, argv, [&] { return run(options, start); });
}
