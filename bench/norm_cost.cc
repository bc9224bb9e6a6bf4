// What a normalization costs by its grouping: forward + backward, as a ratio to batch norm (whole x all x each), and
// batch norm's bandwidth as a share of what plain loops over the same arrays reach in the same run. Everything is
// interleaved, medians are taken. Bytes are counted as the least there is to move: forward 3|x| (read, read, write),
// backward 5|x|.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "examples/common/program.h"
#include "norma/core/file.h"
#include "norma/norma.h"
#include "norma/ops/norm/norm.h"

namespace {

using namespace norma;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Timing {
  std::vector<double> forward, backward;
  double total() const {
    std::vector<double> sums;
    for (size_t i = 0; i < forward.size(); ++i) sums.push_back(forward[i] + backward[i]);
    return median(sums);
  }
};

struct Candidate {
  std::string name;
  Grouping grouping;
  bool center = true;
  std::optional<Grouping> scale{};
  bool by_sample = false;  // gamma and beta [N, C]
  Statistics statistics{};
  std::shared_ptr<nn::Norm> layer{};  // in place of all that
  Timing timing{};
};

std::vector<Candidate> candidates(const Shape& shape, Device device) {
  const int64_t channels = shape.back(), n = shape[0];
  std::vector<Candidate> list = {{"batch (whole)", whole()}};
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(i * 7 % 4);
  for (int64_t k : {2, 8, 32}) list.push_back({fmt::format("ghost, chunks({})", k), chunks(k)});
  list.push_back({"4 domains, interleaved", labels(tensor(ids, {n}), 4)});
  list.push_back({"batch group, groups(4)", {Samples::whole(), Positions::all, Channels::groups(4)}});
  list.push_back({"group, groups(4)", groups(4)});
  list.push_back({"layer (sample)", layer()});
  list.push_back({"layer (features)", features()});
  list.push_back({"rms (features)", features(), false});
  if (shape.rank() > 2) list.push_back({"instance", instance()});
  if (channels % 32 == 0) list.push_back({"group, groups(32)", groups(32)});
  list.push_back({"extended batch", whole(), true, Grouping{.channels = Channels::all()}});
  if (shape.rank() > 2) list.push_back({"instance, layer's variance", instance(), true, layer()});
  if (shape.rank() > 2) list.push_back({"instance, own affine", instance(), true, {}, true});
  list.push_back({"layer, own affine", layer(), true, {}, true});
  list.push_back({"features, own affine", features(), true, {}, true});
  list.push_back({"batch, own affine", whole(), true, {}, true});
  const Tensor population = ones({channels}, f64, device);
  list.push_back({"batch, mixed", whole(), true, {}, false, Statistics::mixed(population, population, 0.5)});
  const auto add = [&](const std::string& name, nn::Norm layer) {
    auto& own = list.emplace_back(Candidate{name, layer.grouping}).layer;
    own = std::make_shared<nn::Norm>(std::move(layer));
    own->to(device);
  };
  if (shape.rank() > 2) add("filter response, threshold", nn::FilterResponseNorm(channels));
  add("dynamic tanh", nn::DynamicTanh(channels));
  return list;
}

// The elements of a cell, the smallest one.
int64_t cell_elements(const Tensor& x, const Grouping& grouping) {
  const Moments m = moments(x, grouping);
  return static_cast<int64_t>(min(m.count).item());
}

// Behind what was asked of a GPU; of the CPU there is nothing to wait for.
void wait_for(const Tensor& x) {
  if (x.device().is_cuda()) view::slice(view::reshape(x, {-1}), 0, 0, 1).item();
}

void step(Candidate& candidate, const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& dy) {
  for (const Tensor& leaf : {x, gamma, beta}) leaf.set_grad({});
  if (candidate.layer) candidate.layer->zero_grad();
  Tape tape;
  auto start = Clock::now();
  const NormOptions options = {.center = candidate.center, .scale = candidate.scale};
  const Tensor y =
      candidate.layer ? (*candidate.layer)(x) : norm(x, candidate.grouping, candidate.statistics, gamma, beta, options);
  wait_for(y);
  candidate.timing.forward.push_back(seconds_since(start));
  start = Clock::now();
  tape.backward(y, {.seed = dy});
  wait_for(x.grad());
  candidate.timing.backward.push_back(seconds_since(start));
}

// Plain loops that move the bytes of batch norm and compute next to nothing; on a GPU copies of as many bytes.
void ceiling(Timing& timing, const Tensor& x, const Tensor& dy) {
  if (x.device().is_cuda()) {
    const auto copies = [&](int count, std::vector<double>& seconds) {  // |x| read and written: count bytes for two
      const Tensor to = empty_like(x);
      const auto start = Clock::now();
      for (int i = 0; i < count; ++i) to.copy_from(x);
      wait_for(to);
      seconds.push_back(seconds_since(start) / 2);
    };
    copies(3, timing.forward);
    return copies(5, timing.backward);
  }
  const int64_t n = x.numel(), grain = 16384;
  float sink[kMaxSlots] = {};
  auto start = Clock::now();
  const Tensor y = empty_like(x);
  parallel_ranges(n, grain, [&](int slot, int64_t begin, int64_t end) {
    float lanes[64] = {};
    const float* in = x.data<float>();
    for (int64_t i = begin; i + 64 <= end; i += 64)
      for (int k = 0; k < 64; ++k) lanes[k] += in[i + k];
    for (float lane : lanes) sink[slot] += lane;
  });
  const float a = 1 + 1e-30f * sink[0];
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    const float* in = x.data<float>();
    float* out = y.mutable_data<float>();
    for (int64_t i = begin; i < end; ++i) out[i] = a * in[i];
  });
  timing.forward.push_back(seconds_since(start));
  start = Clock::now();
  const Tensor dx = empty_like(x);
  parallel_ranges(n, grain, [&](int slot, int64_t begin, int64_t end) {
    float lanes[64] = {};
    const float *in = x.data<float>(), *d = dy.data<float>();
    for (int64_t i = begin; i + 64 <= end; i += 64)
      for (int k = 0; k < 64; ++k) lanes[k] += in[i + k] * d[i + k];
    for (float lane : lanes) sink[slot] += lane;
  });
  const float b = 1e-30f * sink[0];
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    const float *in = x.data<float>(), *d = dy.data<float>();
    float* out = dx.mutable_data<float>();
    for (int64_t i = begin; i < end; ++i) out[i] = a * d[i] + b * in[i];
  });
  timing.backward.push_back(seconds_since(start));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Cost of normalization by grouping");
  std::string json_file, device_name = "cpu";
  int threads = 0;
  double budget = 2;
  app.add_option("--json", json_file, "write the results here");
  app.add_option("--device", device_name, "cpu, cuda, cuda:1, ...");
  app.add_option("--threads", threads, "threads (default: all cores)");
  app.add_option("--seconds", budget, "seconds for each shape");
  return examples::run_program(app, argc, argv, [&] {
    if (threads > 0) set_num_threads(threads);

    const Device device = Device::parse(device_name);
    std::vector<Shape> shapes = {{128, 32, 32, 16}, {128, 16, 16, 32}, {128, 8, 8, 64}, {32, 56, 56, 64}, {4096, 512}};
    if (device.is_cuda()) shapes.push_back({128, 56, 56, 64});

    nlohmann::json rows = nlohmann::json::array();
    for (const Shape& shape : shapes) {
      Generator generator(1);
      Tensor x = randn(shape, generator).to(device), gamma = ones({shape.back()}, f32, device),
             beta = zeros({shape.back()}, f32, device);
      const Tensor dy = randn(shape, generator).to(device);
      Tensor gammas = ones({shape[0], shape.back()}, f32, device), betas = zeros_like(gammas);  // of each sample
      for (Tensor* leaf : {&x, &gamma, &beta, &gammas, &betas}) leaf->set_requires_grad();
      std::vector<Candidate> list = candidates(shape, device);
      Timing limit;
      std::vector<size_t> order(list.size() + 1);
      std::iota(order.begin(), order.end(), size_t{0});
      std::mt19937 shuffler(1);
      const auto start = Clock::now();
      for (int round = 0; round < 5 || seconds_since(start) < budget; ++round) {
        if (round == 2) {  // the first two were to warm up
          for (Candidate& candidate : list) candidate.timing = {};
          limit = {};
        }
        std::shuffle(order.begin(), order.end(), shuffler);  // else each would always find the caches of the same other
        for (size_t next : order) {
          if (next == list.size()) ceiling(limit, x, dy);
          else if (list[next].by_sample) step(list[next], x, gammas, betas, dy);
          else step(list[next], x, gamma, beta, dy);
        }
      }
      const double bytes = 4.0 * static_cast<double>(x.numel());
      const double limit_forward = 3e-9 * bytes / median(limit.forward),
                   limit_backward = 5e-9 * bytes / median(limit.backward);
      fmt::print("\n{}  {:.1f} MB, {}, {} threads, {} rounds; plain loops: forward {:.0f} GB/s, backward {:.0f} GB/s\n",
                 shape, 1e-6 * bytes, device, num_threads(), limit.forward.size(), limit_forward, limit_backward);
      fmt::print("{:<26} {:>9} {:>10} {:>10} {:>8} {:>9} {:>9}\n", "norm", "elements", "forward us", "backward",
                 "ratio", "fwd GB/s", "bwd GB/s");
      for (const Candidate& candidate : list) {
        const double f = median(candidate.timing.forward), b = median(candidate.timing.backward);
        const double ratio = candidate.timing.total() / list[0].timing.total();
        const int64_t elements = cell_elements(x, candidate.grouping);
        fmt::print("{:<26} {:>9} {:>10.0f} {:>10.0f} {:>8.2f} {:>5.0f} {:>3.0f}% {:>4.0f} {:>3.0f}%\n", candidate.name,
                   elements, 1e6 * f, 1e6 * b, ratio, 3e-9 * bytes / f, 100 * 3e-9 * bytes / f / limit_forward,
                   5e-9 * bytes / b, 100 * 5e-9 * bytes / b / limit_backward);
        rows.push_back({{"shape", std::vector<int64_t>(shape.begin(), shape.end())},
                        {"norm", candidate.name},
                        {"cell_elements", elements},
                        {"forward_seconds", f},
                        {"backward_seconds", b},
                        {"ratio_to_batch", ratio},
                        {"forward_of_ceiling", 3e-9 * bytes / f / limit_forward},
                        {"backward_of_ceiling", 5e-9 * bytes / b / limit_backward}});
      }
    }
    if (!json_file.empty())
      write_file_atomic(
          json_file,
          nlohmann::json{{"device", device.str()}, {"threads", num_threads()}, {"rows", rows}}.dump(2) + "\n");
    return 0;
  });
}
