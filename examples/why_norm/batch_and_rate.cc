// How to choose a batch size and a learning rate: a batch of 128 with its rate, and from there smaller and larger
// batches, with the rate fixed, in proportion to the batch, or to its root. As many epochs for all: a larger batch
// makes fewer steps. Batch norm in chunks of 16 samples, so that what is normalized by what is the same for every
// batch.
#include "examples/why_norm/bench.h"

namespace examples::why_norm {
namespace {

constexpr int64_t kBase = 128;
constexpr double kRate = 0.4;

Result run(Lab& lab) {
  const auto batches = lab.choose<std::vector<int64_t>>({16, 128, 1024}, {16, 32, 64, 128, 256, 512, 1024, 2048});
  const int64_t large = 1024, small = 16;
  const std::vector<std::pair<const char*, double>> rules = {
      {"rate fixed", 0}, {"by the root", 0.5}, {"in proportion", 1}};
  Table errors{"As many epochs, with another batch", "SGD batch", "test error, %", true};
  for (const uint64_t seed : lab.all_seeds())
    for (const int64_t batch : batches) {
      for (const auto& [name, power] : rules) {
        if (batch == kBase && power > 0) {  // there all are the same
          errors.add(batch, name, errors.at(batch, "rate fixed").back());
          continue;
        }
        const double lr = kRate * std::pow(static_cast<double>(batch) / static_cast<double>(kBase), power);
        Run net(lab, seed, mlp(lab, {.norm = "bn:16", .squash = Squash::relu}), kPlain);
        train(lab, net, lab.train, {.epochs = lab.choose<int64_t>(4, 6), .batch = batch, .lr = lr});
        estimate(lab, net.model, lab.train, seed);
        errors.add(batch, name, error(lab, net.model, lab.test));
      }
    }
  const Values& base = errors.at(kBase, "rate fixed");
  return {{errors},
          {exceeds("with the rate fixed, 1024 is worse than 128", errors.at(large, "rate fixed"), base),
           exceeds("with the rate fixed, 16 is worse than 128", errors.at(small, "rate fixed"), base),
           no_worse("in proportion, 1024 is no worse than 128", errors.at(large, "in proportion"), base, 1),
           no_worse("in proportion, 16 is no worse than 128", errors.at(small, "in proportion"), base, 1),
           exceeds("by the root, 1024 is worse than in proportion", errors.at(large, "by the root"),
                   errors.at(large, "in proportion"))}};
}

}  // namespace

const Experiment kBatchAndRate{"batch_and_rate", "Goyal et al. 2017, section 2.1", "Another batch, another rate",
                               "A batch k times as large wants a learning rate k times as large: then as many epochs "
                               "come to the same error, and with "
                               "the rate fixed they do not.",
                               run};

}  // namespace examples::why_norm
