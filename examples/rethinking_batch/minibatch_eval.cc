// Section 4.2: mini-batch statistics in evaluation. In the paper's R-CNN, the samples of a normalization batch are
// regions of one picture; no population stands for them. Here 16 neighbouring samples share a scene, with a light of
// its own: each pixel is a x + b, a and b of the scene. Two networks that see independent samples are compared with it,
// one whose normalization batch is too small (2), and an ordinary one (128). Evaluation by mini-batches forms them as
// training did.
#include "examples/rethinking_batch/experiments.h"

namespace examples {
namespace {

constexpr int64_t kScene = 16;

// Samples [16 s, 16 (s + 1)) under the light of scene s.
ImageDataset lit(const ImageDataset& dataset, uint64_t seed) {
  const Tensor from = dataset.images.contiguous(), to(from.shape(), u8);
  const int64_t n = dataset.size(), pixels = n > 0 ? from.numel() / n : 0;
  Generator random(seed);
  double gain = 0, offset = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (i % kScene == 0) {
      gain = random.uniform(0.2, 0.6);
      offset = 255 * random.uniform(0, 0.4);
    }
    for (int64_t p = i * pixels; p < (i + 1) * pixels; ++p)
      to.mutable_data<uint8_t>()[p] = static_cast<uint8_t>(gain * from.data<uint8_t>()[p] + offset);
  }
  ImageDataset result = dataset;
  result.images = to;
  return result;
}

Result run(Lab& lab) {
  struct Setting {
    std::string name;
    const ImageDataset &train, &test;
    int64_t batch;
    Order order;
  };
  const ImageDataset train_scenes = lit(lab.train, 1), test_scenes = lit(lab.test, 2);
  const std::vector<Setting> settings = {{"scenes of 16", train_scenes, test_scenes, kScene, shuffled_runs(kScene)},
                                         {"i.i.d., 2", lab.train, lab.test, 2, shuffled},
                                         {"i.i.d., 128", lab.train, lab.test, 128, shuffled}};
  const char *mini_batch = "mini-batch statistics", *population = "population", *kl = "inconsistency";
  Table errors{"Two ways to evaluate", "normalization batch", "test error, %"};
  Table distances{"How far batches stray from the population", "normalization batch", "symmetric KL, nats a channel"};
  errors.bars = distances.bars = true;
  for (const uint64_t seed : lab.all_seeds())
    for (const Setting& s : settings) {
      Run net(lab, seed, [&](int64_t channels) { return nn::BatchNorm(channels, {.normalization_batch = s.batch}); });
      Recipe recipe = lab.recipe();
      recipe.order = s.order;
      train(lab, net, s.train, recipe);
      estimate(lab, net.model, s.train, seed);
      errors.add(s.name, population, error(lab, net.model, s.test));
      errors.add(s.name, mini_batch, error(lab, net.model, s.test, By::mini_batch));
      const data::DataLoader as_served(s.train, serving(lab, seed, recipe.batch, false));
      distances.add(s.name, kl, nn::norm_report(net.model, as_served).inconsistency());
    }
  const auto gains = [&](const std::string& claim, const char* row) {
    return exceeds(claim, errors.at(row, population), errors.at(row, mini_batch));
  };
  return {{errors, distances},
          {exceeds("scenes make training and evaluation less consistent than 128 independent samples are",
                   distances.at("scenes of 16", kl), distances.at("i.i.d., 128", kl), 0, "nats"),
           gains("with scenes, mini-batch statistics win", "scenes of 16"),
           gains("with two independent samples, mini-batch statistics win", "i.i.d., 2"),
           no_worse("with 128 independent samples, the population is no worse", errors.at("i.i.d., 128", population),
                    errors.at("i.i.d., 128", mini_batch), 0.5)}};
}

}  // namespace

const Experiment kMinibatchEval{"minibatch_eval", "section 4.2", "Mini-batch statistics in evaluation",
                                "Where training and evaluation by the population are far from consistent, evaluation "
                                "by mini-batch statistics wins; "
                                "where they are consistent, there is nothing to win.",
                                run};

}  // namespace examples
