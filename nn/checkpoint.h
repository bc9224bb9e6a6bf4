// Checkpoints: all that a training run needs to go on to the same bits, in one safetensors file.
#pragma once

#include "norma/nn/optim/optimizer.h"

namespace norma::nn {

// What is saved, and overwritten by loading.
struct TrainingRun {
  Module& model;
  Optimizer& optimizer;
  std::map<std::string, Generator*> generators{};  // besides the default generator, which is always kept
  // Options that the result depends on ("lr": "0.1", "seed": "7"). A run with others cannot take the checkpoint up.
  std::map<std::string, std::string> fingerprint{};
};

// Where the run stands. {epoch, batch} is the position of its data loader.
struct Progress {
  int64_t epoch = 0, batch = 0;
  int64_t step = 0;
  std::map<std::string, std::string> metadata{};  // whatever else: the best accuracy so far, say
};

// Atomic: a run that is killed while it writes leaves the former checkpoint whole.
void save_checkpoint(const std::string& path, const TrainingRun& run, const Progress& progress);

// Restores the run. Errors: options of the fingerprint that differ, each with both values; and all that is missing,
// unknown, or of another shape. Nothing has been changed then.
Progress load_checkpoint(const std::string& path, const TrainingRun& run);

}  // namespace norma::nn
