// Section 4.3: FrozenBN. A run is trained to four fifths of its steps; from there it is finished twice, once as before
// and once with its norms frozen to precise statistics, so that the network learns what evaluation will do. SGD batch
// 128, normalization batches of 2 to 32.
#include "examples/rethinking_batch/experiments.h"

namespace examples {
namespace {

Result run(Lab& lab) {
  const std::vector<int64_t> sizes = lab.choose<std::vector<int64_t>>({2, 8, 32}, {2, 4, 8, 16, 32}, {2, 32});
  const char *to_the_end = "batch norm to the end", *frozen = "frozen for the last fifth";
  Table errors{"How training ends", "normalization batch", "test error, %", true};
  const Recipe recipe = lab.recipe();
  for (const uint64_t seed : lab.all_seeds())
    for (const int64_t size : sizes) {
      Run net(lab, seed, [&](int64_t channels) { return nn::BatchNorm(channels, {.normalization_batch = size}); });
      train(lab, net, lab.train, recipe, steps(lab.train, recipe) * 4 / 5);
      const Snapshot at_four_fifths(net);

      train(lab, net, lab.train, recipe);
      estimate(lab, net.model, lab.train, seed);
      errors.add(size, to_the_end, error(lab, net.model, lab.test));

      at_four_fifths.restore(net);
      estimate(lab, net.model, lab.train, seed);
      nn::freeze_bn(net.model);
      train(lab, net, lab.train, recipe);
      errors.add(size, frozen, error(lab, net.model, lab.test));
    }
  const Values small = errors.at(2, to_the_end), reference = errors.at(32, to_the_end);
  return {{errors},
          {exceeds("at a normalization batch of 2, the frozen finish lowers the error", small, errors.at(2, frozen)),
           exceeds("it closes at least half of the gap to a normalization batch of 32", 0.5 * (small + reference),
                   errors.at(2, frozen), 0)}};
}

}  // namespace

const Experiment kFrozen{
    "frozen", "section 4.3", "Finishing with frozen batch norm",
    "Finishing the last fifth of training with frozen statistics closes the gap at small normalization batches.", run};

}  // namespace examples
