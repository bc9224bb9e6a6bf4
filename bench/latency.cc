// How long one forward pass of a small batch takes, in evaluation mode, and what a call of an op costs beside its
// arithmetic. bench/peers/latency_torch.py and latency_onnx.py measure the same, from the same weights and pictures.
//
//   latency --case resnet20 --batch 1 --threads 1
//   latency --case add                            one addition of tensors of one element, without a tape
//   latency --case add_backward                   the same with a tape, and the backward pass
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>

#include "bench/networks.h"
#include "bench/noise.h"
#include "examples/common/program.h"

namespace {

using namespace norma;
using Clock = std::chrono::steady_clock;

constexpr int64_t kBatches = 8;      // pictures, in turn
constexpr int64_t kTogether = 1000;  // additions that are timed as one: the clock itself takes some 30 ns

struct Options {
  std::string name = "resnet20", weights, save_weights, json;
  int64_t batch = 1;
  int threads = 0;
  double seconds = 1;
  bool unpacked = false;
};

double now() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

// The times of f(i), i = 0, 1, ..., for `seconds`, and before that for a quarter of it without looking: sorted.
template <class F>
std::vector<double> times(double seconds, F&& f) {
  std::vector<double> found;
  const double start = now(), warm = start + seconds / 4, end = warm + seconds;
  double begin = start;
  for (int64_t i = 0; begin < end || found.empty(); ++i) {
    f(i);
    const double after = now();
    if (begin >= warm) found.push_back(after - begin);
    begin = after;
  }
  std::sort(found.begin(), found.end());
  return found;
}

int run(const Options& options) {
  if (options.threads > 0) set_num_threads(options.threads);
  manual_seed(1);
  std::vector<double> seconds, outputs;  // outputs: what is compared with the peers'
  double together = 1;
  const auto keep = [&](const Tensor& y) {
    for (int64_t i = 0; i < y.numel(); ++i) outputs.push_back(y.data<float>()[i]);
  };
  if (options.name.starts_with("add")) {
    const bool backward = options.name == "add_backward";
    const Tensor b = full({1}, 0.5);
    Tensor a = full({1}, 0.25), y;
    a.set_requires_grad(backward);
    together = kTogether;
    seconds = times(options.seconds, [&](int64_t) {
      for (int64_t i = 0; i < kTogether; ++i) {
        if (!backward) {
          y = a + b;
          continue;
        }
        Tape tape;
        y = a + b;
        tape.backward(y);
      }
    });
    keep(y);
  } else {
    const std::unique_ptr<nn::Module> model = bench::make_network(options.name);
    const Shape image = bench::image_of(options.name);
    if (!options.weights.empty()) nn::load(*model, options.weights, bench::torch_layout(image));
    if (!options.save_weights.empty()) nn::save(*model, options.save_weights, bench::torch_layout(image));
    model->eval();
    const PackedWeights packed(options.unpacked ? std::vector<Tensor>() : model->parameters());
    std::vector<Tensor> batches;
    for (int64_t b = 0; b < kBatches; ++b) batches.push_back(bench::draw(b, image, options.batch).images);
    seconds = times(options.seconds, [&](int64_t i) { (*model)(batches[static_cast<size_t>(i % kBatches)]); });
    keep((*model)(batches[0]));
  }

  const auto percentile = [&](double p) {
    return seconds[std::min(seconds.size() - 1, static_cast<size_t>(p * static_cast<double>(seconds.size())))] /
           together;
  };
  fmt::print("{}, batch {}, {} threads: median {:.3f} us (p90 {:.3f}), {} times\n", options.name, options.batch,
             num_threads(), 1e6 * percentile(0.5), 1e6 * percentile(0.9), seconds.size());
  if (!options.json.empty()) {
    const nlohmann::ordered_json result = {{"case", options.name},           {"batch", options.batch},
                                           {"threads", num_threads()},       {"median_seconds", percentile(0.5)},
                                           {"p90_seconds", percentile(0.9)}, {"outputs", outputs}};
    write_file_atomic(options.json, result.dump(2) + "\n");
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Times one forward pass of a small batch, or a call of an op on tensors of one element.");
  app.option_defaults()->always_capture_default();
  std::vector<std::string> cases = bench::kNetworks;
  cases.insert(cases.end(), {"add", "add_backward"});
  app.add_option("--case", options.name)->check(CLI::IsMember(cases));
  app.add_option("--batch", options.batch)->check(examples::at_least(1));
  app.add_option("--threads", options.threads, "0: all cores")->check(CLI::Range(0, 1024));
  app.add_option("--seconds", options.seconds, "so long is measured")->check(examples::at_least(0));
  app.add_flag("--unpacked", options.unpacked, "pack the weights of convolutions in each call");
  app.add_option("--weights", options.weights, "begin with these (safetensors, PyTorch's layout)");
  app.add_option("--save-weights", options.save_weights, "write the weights that it has, in that layout");
  app.add_option("--json", options.json, "write the result to this file");
  return examples::run_program(app, argc, argv, [&] { return run(options); });
}
