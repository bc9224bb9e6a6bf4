// Checkpoints: all that a training run needs to go on to the same bits, in one safetensors file. For the weights alone,
// there is state.h, which reads checkpoints too.
#pragma once

#include "norma/core/communicator.h"
#include "norma/nn/optim/optimizer.h"

namespace norma::nn {

// One of a kind, or several, each with a name of its own: optimizer, or {{"generator", g}, {"critic", c}}.
template <class T>
struct Named : std::vector<std::pair<std::string, std::reference_wrapper<T>>> {
  using Named::vector::vector;
  Named(T& one) : Named::vector{{"", one}} {}
};

// What a checkpoint saves, and loading overwrites.
//   TrainingRun{model, optimizer}
//   TrainingRun{{{"generator", g}, {"critic", c}}, {{"generator", g_optimizer}, {"critic", c_optimizer}}}
// A tensor's name in the file is "model/conv.weight", or "model/generator/conv.weight"; likewise "optimizer/...".
struct TrainingRun {
  Named<Module> models;  // all that has parameters or buffers: a WeightAverage, too
  Named<Optimizer> optimizers{};
  std::map<std::string, Generator*> generators{};  // besides the default generator, which is always kept
  // The options that the result depends on, as {"lr", "0.1"}, {"seed", "7"}. A run with others cannot go on from it.
  std::map<std::string, std::string> fingerprint{};
  // Of several workers with replicas of the model, this one. All save and load together: worker 0 writes the file, with
  // the generators of all, and reads it for all. Null: there is one worker.
  Communicator* worker = nullptr;
};

// Where the run stands.
struct Progress {
  int64_t epoch = 0, batch = 0;  // the position of its data loader
  int64_t step = 0;
  std::map<std::string, std::string> metadata{};  // of the program: the best accuracy so far, say
};

// Atomic: a run that is killed while it writes leaves the former checkpoint whole. Errors: a file that cannot be
// written (for all workers); of several models or optimizers, names that are empty, equal, or hold a '/'; a generator
// with the name "default", or null; a progress that is negative.
void save_checkpoint(const std::string& path, const TrainingRun& run, const Progress& progress);

// Overwrites models, optimizers and generators, the default one included, and returns where the run stood. Errors: a
// file that is no checkpoint; options of the fingerprint, or parameter groups, that differ, each with both values; a
// list of all tensors that are missing, unknown, or of another shape or dtype; a learning rate that set_lr refuses, or
// a count that is negative. Nothing has been changed then.
Progress load_checkpoint(const std::string& path, const TrainingRun& run);

}  // namespace norma::nn
