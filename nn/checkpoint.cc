#include "norma/nn/checkpoint.h"

#include <bit>

#include "norma/core/file.h"
#include "norma/nn/state.h"

namespace norma::nn {
constexpr const char* kVersion = "1";
// What keys in the file's metadata begin with.
const std::string kOption = "fingerprint/", kGroups = "groups of ", kUser = "user/";

static std::map<std::string, Generator*> generators_of(const TrainingRun& run) {
  auto generators = run.generators;
  for (const auto& [name, generator] : generators)
    check(generator != nullptr, "checkpoint", "the generator '{}' is null", name);
  check(generators.emplace("default", &default_generator()).second, "checkpoint",
        "the name 'default' is the default generator's");
  return generators;
}

// Three numbers of the file, the `row`-th three. A generator's are its State, unsigned words kept as signed ones with
// the same bits; of several workers, each has a row.
using Words = std::array<int64_t, 3>;
static Words words_of(const TensorFile& file, const std::string& name, int row = 0) {
  const int64_t* words = file.find(name)->data<int64_t>() + 3 * row;
  return {words[0], words[1], words[2]};
}

static bool several(const TrainingRun& run) { return run.worker && run.worker->size() > 1; }

// What worker 0 has, for all: u8.
static Tensor of_first(Communicator& me, std::span<const std::byte> bytes) {
  const Tensor length = full({}, static_cast<double>(bytes.size()), i64);
  me.broadcast(length);
  const Tensor all({static_cast<int64_t>(length.item())}, u8);
  if (me.first()) std::ranges::copy(bytes, all.memory().begin());
  me.broadcast(all);
  return all;
}

// Calls f() with worker 0, and throws with all if it does.
static void by_first(const TrainingRun& run, auto&& f) {
  if (!several(run)) return f();
  std::string problem;
  try {
    if (run.worker->first()) f();
  } catch (const Error& error) {
    problem = error.what();
  }
  const Tensor text = of_first(*run.worker, std::as_bytes(std::span(problem)));
  if (text.numel() > 0) throw Error(std::string(text.data<uint8_t>(), text.data<uint8_t>() + text.numel()));
}

// The file's bytes, which worker 0 reads.
static TensorFile read(const std::string& path, const TrainingRun& run) {
  std::vector<std::byte> bytes;
  by_first(run, [&] { bytes = read_file(path); });
  return parse_safetensors(several(run) ? of_first(*run.worker, bytes).memory() : bytes, path);
}

static Progress checked(std::string_view op, const Progress& p) {
  check(p.epoch >= 0 && p.batch >= 0 && p.step >= 0, op, "stands at epoch {}, batch {}, step {}: want none negative",
        p.epoch, p.batch, p.step);
  return p;
}

// What the names of the tensors of a model or an optimizer begin with: "model/", or of one of several "model/critic/".
static std::string path_of(const std::string& kind, const std::string& name) {
  return kind + "/" + (name.empty() ? "" : name + "/");
}

// The tensors of a checkpoint: the models' and the optimizers' own, which loading overwrites, and copies of the rest.
static NamedTensors tensors_of(const TrainingRun& run, const Progress& progress) {
  NamedTensors result;
  for (const auto& [name, model] : run.models)
    for (const auto& [key, x] : model.get().state_dict()) result.emplace_back(path_of("model", name) + key, x);
  for (const auto& [name, optimizer] : run.optimizers)
    for (const auto& [key, x] : optimizer.get().state()) result.emplace_back(path_of("optimizer", name) + key, x);
  for (const auto& [name, generator] : generators_of(run)) {
    const Tensor state = tensor(std::bit_cast<Words>(generator->state()), {3});
    result.emplace_back("generator/" + name, several(run) ? run.worker->all_gather(state) : state);
  }
  result.emplace_back("progress", tensor<int64_t>({progress.epoch, progress.batch, progress.step}));
  return result;
}

void save_checkpoint(const std::string& path, const TrainingRun& run, const Progress& progress) {
  std::map<std::string, std::string> metadata = {{"checkpoint", kVersion}, {"layout", "norma"}};
  for (const auto& [key, value] : run.fingerprint) metadata[kOption + key] = value;
  for (const auto& [key, value] : progress.metadata) metadata[kUser + key] = value;
  for (const auto& [name, optimizer] : run.optimizers)
    metadata[kGroups + path_of("optimizer", name)] = optimizer.get().groups();
  const NamedTensors tensors = tensors_of(run, checked("checkpoint", progress));
  by_first(run, [&] { save_safetensors(path, tensors, metadata); });
}

Progress load_checkpoint(const std::string& path, const TrainingRun& run) {
  const TensorFile file = read(path, run);
  const std::string op = fmt::format("load_checkpoint '{}'", path);
  check(file.metadata.contains("checkpoint"), op, "the file is not a checkpoint of norma");
  const std::string& version = file.metadata.at("checkpoint");
  check(version == kVersion, op, "a checkpoint of version '{}'; this norma reads '{}'", version, kVersion);

  std::map<std::string, std::string> metadata;
  std::map<std::string, std::array<std::string, 2>> options;  // then, and now; "": not given
  for (const auto& [key, value] : file.metadata) {
    if (key.starts_with(kOption)) options[key.substr(kOption.size())][0] = "'" + value + "'";
    if (key.starts_with(kUser)) metadata[key.substr(kUser.size())] = value;
  }
  for (const auto& [key, value] : run.fingerprint) options[key][1] = "'" + value + "'";
  for (const auto& [name, optimizer] : run.optimizers) {
    const auto then = file.metadata.find(kGroups + path_of("optimizer", name));  // older files do not say
    if (then != file.metadata.end())
      options[then->first] = {"'" + then->second + "'", "'" + optimizer.get().groups() + "'"};
  }
  std::string differences;
  for (const auto& [key, option] : options)
    if (const auto [then, now] = option; then != now)
      differences +=
          fmt::format("\n  {}: {}, now {}", key, then.empty() ? "not given" : then, now.empty() ? "not given" : now);
  check(differences.empty(), op, "was made with other options:{}", differences);

  Optimizer::check_state(op, file.tensors, "optimizer/");
  Progress progress{.metadata = metadata};
  if (const Tensor* at = file.find("progress"); at && at->dtype() == i64 && at->shape() == Shape{3}) {
    const auto [epoch, batch, step] = words_of(file, "progress");
    progress = checked(op, {epoch, batch, step, metadata});
  }
  assign(op, "the run", tensors_of(run, {}), file.tensors);
  for (const auto& [name, generator] : generators_of(run))
    generator->set_state(
        std::bit_cast<Generator::State>(words_of(file, "generator/" + name, several(run) ? run.worker->rank() : 0)));
  return progress;
}

}  // namespace norma::nn
