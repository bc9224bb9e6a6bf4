// Luo et al., "Extended batch normalization for image tasks" (2020): with few samples to a normalization batch, a
// variance of all channels is steadier than one of each. The SGD batch stays 128, so that nothing differs but what is
// normalized by what.
#include "examples/newer_norms/experiments.h"

namespace examples::newer_norms {
namespace {

Result run(Lab& lab) {
  const char *each = "BN", *all = "EBN";
  Table errors{"A variance of each channel, or of all", "normalization batch", "test error, %"};
  errors.log_x = true;
  for (const int64_t size : lab.choose<std::vector<int64_t>>({2, 32}, {2, 8, 32}))
    for (const uint64_t seed : lab.all_seeds())
      for (const char* which : {each, all}) {
        Run net(lab, seed, [&](int64_t channels) {
          nn::Norm norm = nn::BatchNorm(channels, {.normalization_batch = size});
          if (which == all) norm.scale = Grouping{Samples::chunks(size), Positions::all, Channels::all()};
          return norm;
        });
        train(lab, net, lab.train, lab.recipe());
        estimate(lab, net.model, lab.train, seed);
        errors.add(size, which, error(lab, net.model, lab.test));
      }
  const Values &bn2 = errors.at(2, each), &bn32 = errors.at(32, each), &ebn2 = errors.at(2, all),
               &ebn32 = errors.at(32, all);
  return {{errors},
          {exceeds("at a normalization batch of 2, BN is worse than EBN", bn2, ebn2),
           exceeds("from 32 to 2, BN loses more than EBN", bn2 - bn32, ebn2 - ebn32),
           no_worse("at 32, EBN is no worse", ebn32, bn32, 0.5)}};
}

}  // namespace

const Experiment kExtended{"extended", "Luo et al. 2020", "A variance of all channels",
                           "With a mean of each channel and a variance of all, small normalization batches cost less "
                           "than with batch norm.",
                           run};

}  // namespace examples::newer_norms
