#include "examples/ports/port.h"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "examples/common/program.h"
#include "norma/core/file.h"

namespace examples {

using namespace norma;

Tensor Port::operator[](const std::string& name) const {
  const Tensor* x = file_.find("data/" + name);
  check(x != nullptr, "port", "{} has no data/{}", path_, name);
  if (x->dtype() != u8) return *x;
  return x->rank() == 4 ? view::permute(x->to(f32), {0, 2, 3, 1}).contiguous() / 255 : x->to(i64);
}

void Port::load(nn::Module& model, const Shape& input, const std::string& part) const {
  const std::string prefix = "weights/" + part;
  NamedTensors weights;
  for (const auto& [name, x] : file_.tensors)
    if (name.starts_with(prefix)) weights.emplace_back(name.substr(prefix.size()), x);
  const std::string copy =
      std::filesystem::temp_directory_path() / fmt::format("norma_port_{}.safetensors", ::getpid());
  save_safetensors(copy, weights);
  nn::load(model, copy, {.layout = nn::Layout::torch, .input = input});
  std::filesystem::remove(copy);
}

const Tensor* Port::drawn() { return file_.find(fmt::format("draws/{}", draws_++)); }

Tensor Port::randn(const Shape& shape) {
  const Tensor* x = drawn();
  if (!x) return norma::randn(shape);
  const Tensor moved = x->rank() == 4 ? view::permute(*x, {0, 2, 3, 1}).contiguous() : *x;
  check(moved.shape() == shape, "port", "{} has numbers of shape {} here, not {}", path_, moved.shape(), shape);
  return moved;
}

Tensor Port::randperm(int64_t n) {
  if (const Tensor* x = drawn()) return *x;
  return tensor(default_generator().permutation(n), {n});
}

std::vector<Tensor> Port::batches(int64_t n, int64_t size) {
  const Tensor order = randperm(n);
  std::vector<Tensor> parts;
  for (int64_t i = 0; i < n; i += size) parts.push_back(slice(order, 0, i, std::min(n, i + size)));
  return parts;
}

void Port::report(const Scalars& losses) {
  const bool shown = step_ < 5 || step_ % 20 == 0;
  if (shown) fmt::print("step {:4}", step_);
  for (const auto& [name, loss] : losses) {
    if (shown) fmt::print("  {} {:.5f}", name, loss.value);
    losses_[name].push_back(loss.value);
  }
  if (shown) fmt::print("\n");
  std::fflush(stdout);
  if (++step_ == steps_) throw Stopped();
}

void Port::result(const Scalars& values) {
  fmt::print("result   ");
  for (const auto& [name, x] : values) {
    fmt::print("  {} {:.5f}", name, x.value);
    results_[name] = x.value;
  }
  fmt::print("\n");
}

}  // namespace examples

int main(int argc, char** argv) {
  CLI::App app("A port of the PyTorch program of the same name in bench/peers/ports.");
  std::string data = NORMA_PORT_DATA, json;
  int64_t steps = -1;
  app.add_option("--data", data, "the file with data, weights and random numbers")->capture_default_str();
  app.add_option("--steps", steps, "stop after so many")->check(CLI::PositiveNumber);
  app.add_option("--json", json, "write all losses to this file");
  return examples::run_program(app, argc, argv, [&] {
    examples::Port port(data, steps);
    try {
      examples::train(port);
    } catch (const examples::Port::Stopped&) {
    }
    const nlohmann::json record = {{"losses", port.losses()}, {"result", port.results()}};
    if (!json.empty()) norma::write_file_atomic(json, record.dump() + "\n");
    return 0;
  });
}
