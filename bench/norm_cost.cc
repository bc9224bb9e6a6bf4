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

#include "norma/core/file.h"
#include "norma/norma.h"
#include "norma/ops/norm.h"

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
  Timing timing{};
};

std::vector<Candidate> candidates(const Shape& shape) {
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
  return list;
}

// The elements of a cell, the smallest one.
int64_t cell_elements(const Tensor& x, const Grouping& grouping) {
  const Moments m = moments(x, grouping);
  return static_cast<int64_t>(min(m.count).item());
}

void step(Candidate& candidate, const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& dy) {
  for (const Tensor& leaf : {x, gamma, beta}) leaf.set_grad({});
  Tape tape;
  auto start = Clock::now();
  const Tensor y = norm(x, candidate.grouping, {}, gamma, beta, {.center = candidate.center});
  candidate.timing.forward.push_back(seconds_since(start));
  start = Clock::now();
  tape.backward(y, {.seed = dy});
  candidate.timing.backward.push_back(seconds_since(start));
}

// Plain loops that move the bytes of batch norm and compute next to nothing.
void ceiling(Timing& timing, const Tensor& x, const Tensor& dy) {
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
  std::string json_file;
  int threads = 0;
  double budget = 2;
  app.add_option("--json", json_file, "write the results here");
  app.add_option("--threads", threads, "threads (default: all cores)");
  app.add_option("--seconds", budget, "seconds for each shape");
  CLI11_PARSE(app, argc, argv);
  if (threads > 0) set_num_threads(threads);

  nlohmann::json rows = nlohmann::json::array();
  for (const Shape& shape : {Shape{128, 32, 32, 16}, Shape{128, 16, 16, 32}, Shape{128, 8, 8, 64},
                             Shape{32, 56, 56, 64}, Shape{4096, 512}}) {
    Generator generator(1);
    Tensor x = randn(shape, generator), gamma = ones({shape.back()}), beta = zeros({shape.back()});
    const Tensor dy = randn(shape, generator);
    for (Tensor* leaf : {&x, &gamma, &beta}) leaf->set_requires_grad();
    std::vector<Candidate> list = candidates(shape);
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
        else step(list[next], x, gamma, beta, dy);
      }
    }
    const double bytes = 4.0 * static_cast<double>(x.numel());
    const double limit_forward = 3e-9 * bytes / median(limit.forward),
                 limit_backward = 5e-9 * bytes / median(limit.backward);
    fmt::print("\n{}  {:.1f} MB, {} threads, {} rounds; plain loops: forward {:.0f} GB/s, backward {:.0f} GB/s\n",
               shape, 1e-6 * bytes, num_threads(), limit.forward.size(), limit_forward, limit_backward);
    fmt::print("{:<26} {:>9} {:>10} {:>10} {:>8} {:>9} {:>9}\n", "norm", "elements", "forward us", "backward", "ratio",
               "fwd GB/s", "bwd GB/s");
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
    write_file_atomic(json_file, nlohmann::json{{"threads", num_threads()}, {"rows", rows}}.dump(2) + "\n");
}
