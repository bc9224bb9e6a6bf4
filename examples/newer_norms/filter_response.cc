// Singh & Krishnan, "Filter response normalization layer" (2020): a norm that subtracts no mean and knows no batch,
// with a learned threshold in the place of the ReLU, for training with one or two samples a step. Against group norm,
// whose statistics do not depend on the batch either. The learning rate is proportional to the batch; all else is
// equal.
#include "examples/newer_norms/experiments.h"

namespace examples::newer_norms {
namespace {

Result run(Lab& lab) {
  const char *frn = "FRN", *gn = "GN", *bn = "BN";
  Table errors{"Few samples a step", "SGD batch", "test error, %"};
  errors.bars = true;
  for (const int64_t size : {1, 2})
    for (const uint64_t seed : lab.all_seeds())
      for (const char* which : {frn, gn, bn}) {
        if (which == bn && size == 1) continue;  // fails there, in its own way: why_norm batch_of_one
        Run net(lab, seed, [&](int64_t channels) {
          return which == frn  ? nn::FilterResponseNorm(channels)
                 : which == gn ? nn::GroupNorm(4, channels)
                               : nn::BatchNorm(channels);
        });
        Recipe recipe = lab.recipe();
        recipe.epochs = lab.choose(1, 2);
        recipe.batch = size;
        recipe.lr *= static_cast<double>(size) / 128;
        train(lab, net, lab.train, recipe);
        if (which == bn) estimate(lab, net.model, lab.train, seed);
        errors.add(size, which, error(lab, net.model, lab.test));
      }
  return {{errors},
          {no_worse("with one sample a step, FRN is no worse than GN", errors.at(1, frn), errors.at(1, gn), 0.5),
           no_worse("with two samples a step, FRN is no worse than GN", errors.at(2, frn), errors.at(2, gn), 0.5)}};
}

}  // namespace

const Experiment kFilterResponse{"filter_response", "Singh & Krishnan 2020", "One or two samples a step",
                                 "Trained with one or two samples a step, filter response norm with its threshold is "
                                 "no worse than group norm.",
                                 run};

}  // namespace examples::newer_norms
