// Section 3.2: how many samples precise statistics need. The ordinary network; its populations are estimated from n
// samples drawn at random, by batches of 512 or, where there are fewer, of all n. Several draws for each n.
#include "examples/rethinking_batch/experiments.h"

namespace examples {
namespace {

Result run(Lab& lab) {
  const int draws = lab.choose(3, 5);
  Table errors{"Precise statistics of n training samples", "samples", "test error, %", true};
  const int64_t all = lab.train.size();
  for (const uint64_t seed : lab.all_seeds()) {
    nn::Sequential& model = lab.ordinary(seed).model;
    for (int64_t n = 16; 3 * n < all; n *= 4) {
      double sum = 0;
      for (int draw = 0; draw < draws; ++draw) {
        estimate(lab, model, lab.train, 100 * seed + static_cast<uint64_t>(draw), {.samples = n});
        sum += error(lab, model, lab.test);
      }
      errors.add(n, "error", sum / draws);
    }
    estimate(lab, model, lab.train, seed, {.samples = all});
    errors.add(all, "error", error(lab, model, lab.test));
  }
  const int64_t fewest = 3 * 1024 < all ? 1024 : all;
  return {{errors},
          {no_worse("from a thousand samples (1,024) the error is no worse than from all", errors.at(fewest, "error"),
                    errors.at(all, "error"), 0.25)}};
}

}  // namespace

const Experiment kSamples{"samples", "section 3.2", "How many samples precise statistics need",
                          "Precise statistics need only 1,000 to 10,000 samples.", run};

}  // namespace examples
