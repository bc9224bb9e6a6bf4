// The alternatives at the smallest batches. The SGD batch stays 128, so that nothing differs but what is normalized by
// what: batch norm and batch renorm by 1 and by 2 samples, group, layer and instance norm by parts of one sample, and
// norms that are frozen from the start to the statistics of the untrained network. Batch norm by 32 samples, for
// reference.
#include "examples/rethinking_batch/experiments.h"

namespace examples {
namespace {

Result run(Lab& lab) {
  Table errors{"Norms at the smallest batches", "norm", "test error, %"};
  errors.bars = true;
  const auto measure = [&](const std::string& name, uint64_t seed, const MakeNorm& norm, bool frozen = false) {
    Run net(lab, seed, norm);
    if (frozen) {
      estimate(lab, net.model, lab.train, seed);
      nn::freeze_bn(net.model);
    }
    train(lab, net, lab.train, lab.recipe());
    if (!frozen) estimate(lab, net.model, lab.train, seed);
    errors.add(name, "error", error(lab, net.model, lab.test));
  };
  for (const uint64_t seed : lab.all_seeds()) {
    for (const int64_t size : {1, 2, 32})
      measure(fmt::format("BN {}", size), seed,
              [&](int64_t channels) { return nn::BatchNorm(channels, {.normalization_batch = size}); });
    for (const int64_t size : {1, 2})
      measure(fmt::format("BRN {}", size), seed, [&](int64_t channels) {
        nn::Norm norm = nn::BatchRenorm(channels);
        norm.grouping = chunks(size);
        return norm;
      });
    measure("GN", seed, [](int64_t channels) { return nn::GroupNorm(4, channels); });
    measure("LN", seed, [](int64_t channels) { return nn::LayerNorm(channels, nn::LayerNormOver::sample); });
    measure("IN", seed, [](int64_t channels) { return nn::InstanceNorm(channels); });
    measure(
        "frozen", seed, [](int64_t channels) { return nn::BatchNorm(channels); }, true);
  }
  Result result{{errors}, {}};
  for (const int64_t size : {1, 2})
    for (const std::string& other :
         {std::string("GN"), std::string("LN"), std::string("IN"), fmt::format("BRN {}", size), std::string("frozen")})
      result.parts.push_back(exceeds(fmt::format("BN {} is worse than {}", size, other),
                                     errors.at(fmt::format("BN {}", size), "error"), errors.at(other, "error")));
  return result;
}

}  // namespace

const Experiment kSmallBatch{"small_batch", "the conclusion", "Alternatives at the smallest batches",
                             "With one or two samples to a normalization batch, batch norm is worse than group, layer "
                             "and instance norm, batch renorm "
                             "and frozen batch norm.",
                             run};

}  // namespace examples
