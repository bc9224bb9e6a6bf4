#include "norma/nn/checkpoint.h"

#include <bit>

#include "norma/nn/state.h"

namespace norma::nn {
namespace {

constexpr const char* kVersion = "1";
const std::string kOption = "fingerprint/", kUser = "user/";  // what keys in the file's metadata begin with

std::map<std::string, Generator*> generators_of(const TrainingRun& run) {
  auto generators = run.generators;
  for (const auto& [name, generator] : generators)
    check(generator != nullptr, "checkpoint", "the generator '{}' is null", name);
  check(generators.emplace("default", &default_generator()).second, "checkpoint",
        "the name 'default' is the default generator's");
  return generators;
}

// Three numbers of the file. A generator's are its State, unsigned words kept as signed ones with the same bits.
using Words = std::array<int64_t, 3>;
Words words_of(const TensorFile& file, const std::string& name) {
  const int64_t* words = file.find(name)->data<int64_t>();
  return {words[0], words[1], words[2]};
}

Progress checked(std::string_view op, const Progress& p) {
  check(p.epoch >= 0 && p.batch >= 0 && p.step >= 0, op, "stands at epoch {}, batch {}, step {}: want none negative",
        p.epoch, p.batch, p.step);
  return p;
}

// The tensors of a checkpoint: the model's and the optimizer's own, which loading overwrites, and copies of the rest.
NamedTensors tensors_of(const TrainingRun& run, const Progress& progress) {
  NamedTensors result;
  for (const auto& [name, x] : run.model.state_dict()) result.emplace_back("model/" + name, x);
  for (const auto& [name, x] : run.optimizer.state()) result.emplace_back("optimizer/" + name, x);
  for (const auto& [name, generator] : generators_of(run))
    result.emplace_back("generator/" + name, tensor<int64_t>(std::bit_cast<Words>(generator->state()), {3}));
  result.emplace_back("progress", tensor<int64_t>({progress.epoch, progress.batch, progress.step}));
  return result;
}

}  // namespace

void save_checkpoint(const std::string& path, const TrainingRun& run, const Progress& progress) {
  std::map<std::string, std::string> metadata = {{"checkpoint", kVersion}, {"layout", "norma"}};
  for (const auto& [key, value] : run.fingerprint) metadata[kOption + key] = value;
  for (const auto& [key, value] : progress.metadata) metadata[kUser + key] = value;
  save_safetensors(path, tensors_of(run, checked("checkpoint", progress)), metadata);
}

Progress load_checkpoint(const std::string& path, const TrainingRun& run) {
  const TensorFile file = load_safetensors(path);
  const std::string op = fmt::format("load_checkpoint '{}'", path);
  check(file.metadata.contains("checkpoint"), op, "the file is not a checkpoint of norma");
  const std::string& version = file.metadata.at("checkpoint");
  check(version == kVersion, op, "a checkpoint of version '{}'; this norma reads '{}'", version, kVersion);

  std::map<std::string, std::string> metadata;
  struct Option {
    std::string then = "not given", now = "not given";
  };
  std::map<std::string, Option> options;
  for (const auto& [key, value] : file.metadata) {
    if (key.starts_with(kOption)) options[key.substr(kOption.size())].then = "'" + value + "'";
    if (key.starts_with(kUser)) metadata[key.substr(kUser.size())] = value;
  }
  for (const auto& [key, value] : run.fingerprint) options[key].now = "'" + value + "'";
  std::string differences;
  for (const auto& [key, option] : options)
    if (option.then != option.now) differences += fmt::format("\n  {}: {}, now {}", key, option.then, option.now);
  check(differences.empty(), op, "was made with other options:{}", differences);

  NamedTensors optimizer;
  for (const auto& [name, x] : file.tensors)
    if (name.starts_with("optimizer/")) optimizer.emplace_back(name.substr(10), x);
  Optimizer::check_state(op, optimizer);
  Progress progress{.metadata = metadata};
  if (const Tensor* at = file.find("progress"); at && at->dtype() == i64 && at->shape() == Shape{3}) {
    const auto [epoch, batch, step] = words_of(file, "progress");
    progress = checked(op, {epoch, batch, step, metadata});
  }
  assign(op, "the run", tensors_of(run, {}), file.tensors);
  for (const auto& [name, generator] : generators_of(run))
    generator->set_state(std::bit_cast<Generator::State>(words_of(file, "generator/" + name)));
  return progress;
}

}  // namespace norma::nn
