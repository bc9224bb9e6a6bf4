// Section 4.1: the normalization batch, from 2 to 1024 samples, at a fixed SGD batch of 1024 (in `chunks`). What noisy
// statistics do to training, and what the difference of training and evaluation costs. Populations are precise.
#include "examples/rethinking_batch/experiments.h"

namespace examples {
namespace {

Result run(Lab& lab) {
  const std::vector<int64_t> sizes = lab.choose<std::vector<int64_t>>(
      {2, 8, 32, 128, 1024}, {2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}, {2, 32, 1024});
  const char *training = "training set, own batches", *batches = "test set, own batches",
             *population = "test set, population";
  Table errors{"SGD batch 1024", "normalization batch", "error, %", true};
  for (const uint64_t seed : lab.all_seeds())
    for (const int64_t size : sizes) {
      Run net(lab, seed, [&](int64_t channels) { return nn::BatchNorm(channels, {.normalization_batch = size}); });
      train(lab, net, lab.train, {.epochs = lab.choose<int64_t>(12, 10), .batch = 1024, .lr = 0.4});
      errors.add(size, training, error(lab, net.model, lab.train, By::mini_batch));
      errors.add(size, batches, error(lab, net.model, lab.test, By::mini_batch));
      estimate(lab, net.model, lab.train, seed);
      errors.add(size, population, error(lab, net.model, lab.test));
    }
  return {
      {errors},
      {exceeds("the training error at 2 is above that at 1024", errors.at(2, training), errors.at(1024, training)),
       exceeds("at 2, evaluation by the population is worse than by mini-batches as in training",
               errors.at(2, population), errors.at(2, batches)),
       exceeds("by the population, 2 is worse than 32", errors.at(2, population), errors.at(32, population)),
       exceeds("by the population, 1024 is worse than 32", errors.at(1024, population), errors.at(32, population))}};
}

}  // namespace

const Experiment kBatchSize{
    "batch_size", "section 4.1", "The size of the normalization batch",
    "At a fixed SGD batch, a smaller normalization batch trains worse; evaluated by the population, a very small one "
    "suffers from the difference between training and evaluation, a very large one from the noise it lacks, and one in "
    "the middle is best.",
    run};

}  // namespace examples
