// A step of several workers: forward, cross-entropy, backward, average_gradients, SGD with momentum,
// average_populations; and how much of it passes in exchanges. bench/peers/ddp_torch.py does the same by PyTorch's DDP.
//
//   data_parallel --workers 2                                       two workers, in one process
//   mpirun --bind-to none -n 2 data_parallel --threads 1            one in each of two
//   mpirun --bind-to none -n 2 data_parallel --threads 1 --norm sync --layers
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <deque>
#include <nlohmann/json.hpp>

#include "bench/noise.h"
#include "examples/common/program.h"
#include "examples/common/resnet.h"

namespace {

using namespace norma;
using Clock = std::chrono::steady_clock;

constexpr int64_t kBatches = 8, kWarmup = 5;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// A worker's communicator, with a clock: what passes in it is sending, receiving, adding, and waiting for the others.
class Timed final : public Communicator {
 public:
  explicit Timed(Communicator& of, int64_t channels_ = 0) : channels(channels_), of_(of) {}
  int rank() const override { return of_.rank(); }
  int size() const override { return of_.size(); }
  Tensor all_gather(const Tensor& x) override {
    Tensor all;
    time(x, [&] { all = of_.all_gather(x); });
    return all;
  }
  void all_reduce(const Tensor& x) override {
    time(x, [&] { of_.all_reduce(x); });
  }
  void broadcast(const Tensor& x, int root) override {
    time(x, [&] { of_.broadcast(x, root); });
  }
  Communicator& split(int64_t color) override { return of_.split(color); }

  const int64_t channels;  // of the norm that it is for
  int64_t calls = 0, bytes = 0;
  double seconds = 0;

 private:
  template <class F>
  void time(const Tensor& x, F&& f) {
    const Clock::time_point begin = Clock::now();
    f();
    seconds += seconds_since(begin);
    ++calls;
    bytes += x.bytes();
  }
  Communicator& of_;
};

struct Options {
  std::string model = "resnet20", norm = "bn", weights, json;
  int workers = 0, threads = 0;
  int64_t batch = 128, steps = 20;
  bool layers = false;
};

double percentile(std::vector<double> values, double p) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(p * static_cast<double>(values.size())))];
}

void work(nn::Worker& me, const Options& options, int processes) {
  Timed gradients(me), populations(me);
  std::deque<Timed> layers;  // of each norm
  const examples::MakeActivatedNorm make_norm = [&](int64_t channels, const Activation& activation) {
    if (options.norm == "bn") return examples::make_batch_norm(channels, activation);
    return nn::SyncBatchNorm(channels, layers.emplace_back(me, channels), {.activation = activation});
  };
  std::unique_ptr<nn::Module> model;
  if (options.model == "resnet20") model = std::make_unique<examples::ResNet>(20, bench::kClasses, make_norm);
  else  // as examples/cifar has it
    model = std::make_unique<examples::ResidualNet>(std::vector<int64_t>{64, 128, 256, 512}, 2, bench::kClasses,
                                                    make_norm, 3);
  if (!options.weights.empty()) nn::load(*model, options.weights, {.layout = nn::Layout::torch, .input = {32, 32, 3}});
  nn::broadcast(me, *model);
  nn::SGD optimizer(*model, {.lr = 0.01, .momentum = 0.9});
  std::vector<bench::Batch> batches;
  const auto [begin, end] = me.share(options.batch);
  for (int64_t b = 0; b < kBatches; ++b) {
    const bench::Batch all = bench::draw(b, {32, 32, 3}, options.batch);
    batches.push_back({view::slice(all.images, 0, begin, end).clone(), view::slice(all.labels, 0, begin, end).clone()});
  }

  const double weight = static_cast<double>((end - begin) * me.size()) / static_cast<double>(options.batch);

  std::vector<double> losses, steps;
  double averaging = 0;
  for (int64_t step = 0; step < kWarmup + options.steps; ++step) {
    if (step == kWarmup) {
      averaging = 0;
      for (Timed* timed : {&gradients, &populations}) timed->calls = timed->bytes = 0, timed->seconds = 0;
      for (Timed& layer : layers) layer.calls = layer.bytes = 0, layer.seconds = 0;
      me.barrier();
    }
    const bench::Batch& batch = batches[static_cast<size_t>(step % kBatches)];
    const Clock::time_point start = Clock::now();
    optimizer.zero_grad();
    Tensor loss;
    {
      Tape tape;
      loss = cross_entropy((*model)(batch.images), batch.labels);
      tape.backward(loss * weight);
    }
    const Clock::time_point swept = Clock::now();
    nn::average_gradients(gradients, optimizer);
    averaging += seconds_since(swept);
    optimizer.step();
    nn::average_populations(populations, *model);
    if (step >= kWarmup) steps.push_back(seconds_since(start));
    if (step >= 3) continue;
    const Tensor sum = full({}, loss.item() * static_cast<double>(end - begin), f64);
    me.all_reduce(sum);
    losses.push_back(sum.item() / static_cast<double>(options.batch));
  }
  nn::check_replicas(me, *model);
  if (!me.first()) return;

  const double n = static_cast<double>(options.steps), median = percentile(steps, 0.5);
  Timed norms(me);
  for (const Timed& layer : layers)
    norms.calls += layer.calls, norms.bytes += layer.bytes, norms.seconds += layer.seconds;
  fmt::print(
      "{}, {}, batch {}, {} workers in {} processes, {} threads each: median {:.2f} ms (p10 {:.2f}, p90 {:.2f}); mean "
      "of exchanges: gradients {:.2f} (average_gradients {:.2f}), populations {:.2f}, norms {:.2f}; losses {:.6f}\n",
      options.model, options.norm, options.batch, me.size(), processes, options.threads, 1e3 * median,
      1e3 * percentile(steps, 0.1), 1e3 * percentile(steps, 0.9), 1e3 * gradients.seconds / n, 1e3 * averaging / n,
      1e3 * populations.seconds / n, 1e3 * norms.seconds / n, fmt::join(losses, " "));
  nlohmann::ordered_json rows;
  for (const Timed& layer : layers) {
    if (options.layers)
      fmt::print("norm {:>2}, {:>3} channels: {:.0f} exchanges of together {:>5.0f} bytes, {:.0f} us\n", rows.size(),
                 layer.channels, static_cast<double>(layer.calls) / n, static_cast<double>(layer.bytes) / n,
                 1e6 * layer.seconds / n);
    rows.push_back({{"channels", layer.channels},
                    {"calls", static_cast<double>(layer.calls) / n},
                    {"bytes", static_cast<double>(layer.bytes) / n},
                    {"seconds", layer.seconds / n}});
  }
  if (options.json.empty()) return;
  const nlohmann::ordered_json result = {{"model", options.model},
                                         {"norm", options.norm},
                                         {"batch", options.batch},
                                         {"workers", me.size()},
                                         {"processes", processes},
                                         {"threads", options.threads},
                                         {"steps", options.steps},
                                         {"median_seconds", median},
                                         {"p10_seconds", percentile(steps, 0.1)},
                                         {"p90_seconds", percentile(steps, 0.9)},
                                         {"average_gradients_seconds", averaging / n},
                                         {"gradient_exchange_seconds", gradients.seconds / n},
                                         {"population_exchange_seconds", populations.seconds / n},
                                         {"norm_exchange_seconds", norms.seconds / n},
                                         {"layers", rows},
                                         {"losses", losses}};
  write_file_atomic(options.json, result.dump(2) + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Times training steps of several workers, in one process or in several.");
  app.option_defaults()->always_capture_default();
  app.add_option("--model", options.model)->check(CLI::IsMember({"resnet20", "resnet18"}));
  app.add_option("--norm", options.norm)->check(CLI::IsMember({"bn", "sync"}));
  app.add_option("--workers", options.workers, "in all processes; 0: one in each")->check(CLI::Range(0, 1 << 16));
  app.add_option("--threads", options.threads, "of each process; 0: all cores")->check(CLI::Range(0, 1024));
  app.add_option("--batch", options.batch, "of all workers together")->check(examples::at_least(1));
  app.add_option("--steps", options.steps, "to be timed")->check(examples::at_least(1));
  app.add_option("--weights", options.weights, "begin with these, as train_step --save-weights writes them");
  app.add_flag("--layers", options.layers, "what each synchronized norm exchanges");
  app.add_option("--json", options.json, "write the result to this file");
  return examples::run_program(app, argc, argv, [&] {
    if (options.threads > 0) set_num_threads(options.threads);
    options.threads = num_threads();
    manual_seed(1);
    const nn::Workers workers(argc, argv, {.count = options.workers});
    workers.run([&](nn::Worker& me) { work(me, options, workers.processes()); });
    return 0;
  });
}
