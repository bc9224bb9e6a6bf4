// Steps of a single sample. The laboratory's convolutional network, one pass over some pictures in steps of 1 and of
// 32, the rate in proportion, by norm. Batch norm at 1 has the positions of one picture for its statistics: in training
// that is instance norm, in evaluation by the population it is not.
#include "examples/why_norm/bench.h"

namespace examples::why_norm {
namespace {

constexpr double kRate = 0.05;  // at 32

Result run(Lab& lab) {
  const std::vector<std::pair<const char*, MakeNorm>> norms = {
      {"none", [](int64_t channels) { return nn::Norm(channels, {.identity = true}); }},
      {"BN", [](int64_t channels) { return nn::BatchNorm(channels); }},
      {"BRN", [](int64_t channels) { return nn::BatchRenorm(channels); }},
      {"GN", [](int64_t channels) { return nn::GroupNorm(4, channels); }},
      {"LN", [](int64_t channels) { return nn::LayerNorm(channels, nn::LayerNormOver::sample); }},
      {"IN", [](int64_t channels) { return nn::InstanceNorm(channels); }}};
  const ImageDataset some = lab.train.first(lab.choose<int64_t>(1'000, 4'000));
  Table errors{"One pass, in steps of 1 and of 32 samples", "norm", "test error, %"};
  errors.bars = true;
  for (const uint64_t seed : lab.all_seeds())
    for (const auto& [name, norm] : norms)
      for (const int64_t batch : {1, 32}) {
        Run net(lab, seed, norm);
        train(lab, net, some, {.epochs = 1, .batch = batch, .lr = kRate * static_cast<double>(batch) / 32});
        estimate(lab, net.model, some, seed);
        errors.add(name, fmt::format("batch {}", batch), error(lab, net.model, lab.test));
        if (std::string(name) != "BN" || batch != 1) continue;
        nn::for_each_norm(net.model, [](const std::string&, nn::Norm& n) { n.grouping = chunks(1); });
        errors.add("BN, own", "batch 1", error(lab, net.model, lab.test, By::mini_batch));
      }
  const auto one = [&](const char* norm) { return errors.at(norm, "batch 1"); };
  return {
      {errors},
      {exceeds("batch norm, evaluated by the population, is worse in steps of 1 than of 32", one("BN"),
               errors.at("BN", "batch 32")),
       exceeds("and worse than where each picture is normalized by itself, as in training", one("BN"), one("BN, own")),
       no_worse("group norm in steps of 1 is no worse than of 32", one("GN"), errors.at("GN", "batch 32"), 2),
       no_worse("layer norm in steps of 1 is no worse than of 32", one("LN"), errors.at("LN", "batch 32"), 2)}};
}

}  // namespace

const Experiment kBatchOfOne{
    "batch_of_one", "Wu & He 2018, section 4.1; Ioffe 2017", "Steps of a single sample",
    "With one sample a step, batch norm fails, and norms of the sample alone do as well as with "
    "thirty-two.",
    run};

}  // namespace examples::why_norm
