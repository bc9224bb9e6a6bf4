// Convolutions by shape and algorithm: forward, backward_input and backward_weight, in GF/s counted as the definition's
// multiplications and additions, whatever the algorithm does. Everything is interleaved, medians are taken.
// bench/peers/conv_torch.py has the same shapes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>

#include "examples/common/program.h"
#include "norma/core/file.h"
#include "norma/norma.h"
#include "norma/ops/conv/conv2d.h"

namespace {

using namespace norma;
using Clock = std::chrono::steady_clock;

struct Case {
  std::string name;
  int64_t n, size, in, out, kernel, stride, padding, groups;

  ConvGeometry geometry(ConvAlgorithm algorithm) const {
    const int64_t o = WindowAxis{kernel, stride, padding}.outputs(size);
    return {n, size, size, in, o, o, out, kernel, kernel, stride, padding, 1, groups, algorithm};
  }
};

const std::vector<Case> kCases = {
    {"3x3 C=16 32x32", 128, 32, 16, 16, 3, 1, 1, 1},
    {"3x3 C=32 16x16", 128, 16, 32, 32, 3, 1, 1, 1},
    {"3x3 C=64 8x8", 128, 8, 64, 64, 3, 1, 1, 1},
    {"3x3 3->16 32x32", 128, 32, 3, 16, 3, 1, 1, 1},
    {"3x3 16->32 32x32 stride 2", 128, 32, 16, 32, 3, 2, 1, 1},
    {"3x3 C=64 56x56", 32, 56, 64, 64, 3, 1, 1, 1},
    {"3x3 C=256 14x14", 32, 14, 256, 256, 3, 1, 1, 1},
    {"3x3 C=512 7x7", 32, 7, 512, 512, 3, 1, 1, 1},
    {"1x1 64->256 56x56", 32, 56, 64, 256, 1, 1, 0, 1},
    {"1x1 1024->256 14x14", 32, 14, 1024, 256, 1, 1, 0, 1},
    {"5x5 C=32 28x28", 32, 28, 32, 32, 5, 1, 2, 1},
    {"7x7 3->64 224x224 stride 2", 8, 224, 3, 64, 7, 2, 3, 1},
    {"3x3 depthwise C=64 56x56", 32, 56, 64, 64, 3, 1, 1, 64},
    {"3x3 depthwise C=256 14x14", 32, 14, 256, 256, 3, 1, 1, 256},
};
const std::vector<std::pair<std::string, ConvAlgorithm>> kAlgorithms = {
    {"automatic", ConvAlgorithm::automatic}, {"im2col", ConvAlgorithm::im2col},       {"direct", ConvAlgorithm::direct},
    {"winograd", ConvAlgorithm::winograd},   {"winograd2", ConvAlgorithm::winograd2},
};

struct Candidate {
  std::string name;
  ConvGeometry geometry;
  std::vector<double> seconds[3];  // forward, backward_input, backward_weight
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Speed of convolutions by shape and algorithm");
  std::string json_file, only, algorithm;
  int threads = 0;
  double budget = 1;
  app.add_option("--json", json_file, "write the results here");
  app.add_option("--threads", threads, "threads (default: all cores)");
  app.add_option("--seconds", budget, "seconds for each shape");
  app.add_option("--only", only, "shapes whose name contains this");
  app.add_option("--algorithm", algorithm, "this one only (default: all)");
  return examples::run_program(app, argc, argv, [&] {
    if (threads > 0) set_num_threads(threads);

    nlohmann::json rows = nlohmann::json::array();
    fmt::print("GF/s, {} threads\n{:<28} {:<11} {:>8} {:>8} {:>8}\n", num_threads(), "", "algorithm", "forward",
               "input", "weight");
    for (const Case& shape : kCases) {
      if (shape.name.find(only) == std::string::npos) continue;
      const ConvGeometry g = shape.geometry(ConvAlgorithm::automatic);
      Generator generator(1);
      const Tensor x = randn({g.n, g.h, g.w, g.c}, generator), dy = randn({g.n, g.oh, g.ow, g.oc}, generator),
                   w = randn({g.oc, g.kh, g.kw, g.c / g.groups}, generator);
      const Tensor y = empty_like(dy), dx = empty_like(x), dw = empty_like(w);
      const std::function<void(const ConvGeometry&)> directions[3] = {
          [&](const ConvGeometry& by) { kernel::conv2d_forward(by, x, w, {}, y); },
          [&](const ConvGeometry& by) { kernel::conv2d_backward_input(by, dy, w, dx, false); },
          [&](const ConvGeometry& by) { kernel::conv2d_backward_weight(by, x, dy, dw, false); }};

      std::vector<Candidate> list;
      for (const auto& [name, value] : kAlgorithms) {
        if (!algorithm.empty() && name != algorithm) continue;
        try {  // those that cannot do it say so
          conv2d(view::slice(x, 0, 0, 1), w, {}, {shape.stride, shape.padding, 1, shape.groups, value});
          list.push_back({name, shape.geometry(value), {}});
        } catch (const Error&) {
        }
      }
      Clock::time_point start = Clock::now();
      for (int round = 0; round < 5 || std::chrono::duration<double>(Clock::now() - start).count() < budget; ++round) {
        for (Candidate& candidate : list)
          for (int i = 0; i < 3; ++i) {
            const Clock::time_point begin = Clock::now();
            directions[i](candidate.geometry);
            if (round >= 2)  // the first two are to warm up
              candidate.seconds[i].push_back(std::chrono::duration<double>(Clock::now() - begin).count());
          }
        if (round == 1) start = Clock::now();
      }

      const double flops = 2e-9 * static_cast<double>(dy.numel() * w.numel() / g.oc);
      for (const Candidate& candidate : list) {
        double speed[3];
        for (int i = 0; i < 3; ++i) speed[i] = flops / median(candidate.seconds[i]);
        fmt::print("{:<28} {:<11} {:>8.1f} {:>8.1f} {:>8.1f}\n", &candidate == list.data() ? shape.name : "",
                   candidate.name, speed[0], speed[1], speed[2]);
        rows.push_back({{"shape", shape.name}, {"algorithm", candidate.name}, {"gflops", speed}});
      }
    }
    if (!json_file.empty())
      write_file_atomic(json_file, nlohmann::json{{"threads", num_threads()}, {"rows", rows}}.dump(2) + "\n");
    return 0;
  });
}
