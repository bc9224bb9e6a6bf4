// Checkpoints: all that a training run needs to go on to the same bits, in one safetensors file. For the weights alone,
// there is state.h, which reads checkpoints too.
#pragma once

#include "norma/core/communicator.h"
#include "norma/nn/optim/optimizer.h"

namespace norma::nn {

// What a checkpoint saves, and loading overwrites.
struct TrainingRun {
  Module& model;
  Optimizer& optimizer;
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
// written (for all workers); a generator with the name "default", or null; a progress that is negative.
void save_checkpoint(const std::string& path, const TrainingRun& run, const Progress& progress);

// Overwrites model, optimizer and generators, the default one included, and returns where the run stood. Errors: a file
// that is no checkpoint; options of the fingerprint that differ, each with both values; a list of all tensors that are
// missing, unknown, or of another shape or dtype; a learning rate that set_lr refuses, or a count that is negative.
// Nothing has been changed then.
Progress load_checkpoint(const std::string& path, const TrainingRun& run);

}  // namespace norma::nn
