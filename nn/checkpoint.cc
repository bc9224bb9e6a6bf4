#include "norma/nn/checkpoint.h"

#include <bit>

#include "norma/nn/state.h"

namespace norma::nn {
namespace {

constexpr const char* kVersion = "1";
const std::string kOption = "fingerprint/", kUser = "user/";  // what keys in the file's metadata begin with

std::map<std::string, Generator*> generators_of(const TrainingRun& run) {
  auto generators = run.generators;
  check(generators.emplace("default", &default_generator()).second, "checkpoint",
        "the name 'default' is the default generator's");
  return generators;
}

// Seeds are unsigned words; kept as signed ones with the same bits.
Tensor words_of(const Generator& generator) {
  const Generator::State state = generator.state();
  return tensor<int64_t>({std::bit_cast<int64_t>(state.seed), std::bit_cast<int64_t>(state.stream),
                          std::bit_cast<int64_t>(state.position)});
}

// The tensors of a checkpoint: those of model and optimizer themselves, and copies of the rest.
NamedTensors tensors_of(const TrainingRun& run, const Progress& progress) {
  NamedTensors result;
  for (const auto& [name, x] : run.model.state_dict()) result.emplace_back("model/" + name, x);
  for (const auto& [name, x] : run.optimizer.state()) result.emplace_back("optimizer/" + name, x);
  for (const auto& [name, generator] : generators_of(run))
    result.emplace_back("generator/" + name, words_of(*generator));
  result.emplace_back("progress", tensor<int64_t>({progress.epoch, progress.batch, progress.step}));
  return result;
}

}  // namespace

void save_checkpoint(const std::string& path, const TrainingRun& run, const Progress& progress) {
  std::map<std::string, std::string> metadata = {{"checkpoint", kVersion}, {"layout", "norma"}};
  for (const auto& [key, value] : run.fingerprint) metadata[kOption + key] = value;
  for (const auto& [key, value] : progress.metadata) metadata[kUser + key] = value;
  save_safetensors(path, tensors_of(run, progress), metadata);
}

Progress load_checkpoint(const std::string& path, const TrainingRun& run) {
  const TensorFile file = load_safetensors(path);
  const std::string op = fmt::format("load_checkpoint '{}'", path);
  check(file.metadata.contains("checkpoint"), op, "the file is not a checkpoint of norma");
  const std::string& version = file.metadata.at("checkpoint");
  check(version == kVersion, op, "a checkpoint of version '{}'; this norma reads '{}'", version, kVersion);

  Progress progress;
  std::map<std::string, std::pair<std::string, std::string>> options;  // as they were, as they are
  for (const auto& [key, value] : file.metadata) {
    if (key.starts_with(kOption)) options[key.substr(kOption.size())].first = "'" + value + "'";
    if (key.starts_with(kUser)) progress.metadata[key.substr(kUser.size())] = value;
  }
  for (const auto& [key, value] : run.fingerprint) options[key].second = "'" + value + "'";
  std::string differences;
  for (const auto& [key, values] : options) {
    const auto& [was, is] = values;
    if (was != is)
      differences +=
          fmt::format("\n  {}: {}, now {}", key, was.empty() ? "not given" : was, is.empty() ? "not given" : is);
  }
  check(differences.empty(), op, "was made with other options:{}", differences);

  const NamedTensors targets = tensors_of(run, {});
  assign(op, "the run", targets, file.tensors);
  const std::map<std::string, Tensor> loaded(targets.begin(), targets.end());
  for (const auto& [name, generator] : generators_of(run)) {
    const auto words = loaded.at("generator/" + name).to_vector<int64_t>();
    generator->set_state(
        {std::bit_cast<uint64_t>(words[0]), std::bit_cast<uint64_t>(words[1]), std::bit_cast<uint64_t>(words[2])});
  }
  const auto counts = loaded.at("progress").to_vector<int64_t>();
  progress.epoch = counts[0];
  progress.batch = counts[1];
  progress.step = counts[2];
  return progress;
}

}  // namespace norma::nn
