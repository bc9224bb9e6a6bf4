// Section 5.2: one network for several domains, as one head over the levels of a pyramid. Three domains take turns: the
// pictures as they are, their negatives, and the pictures in fog. In training the norms take their statistics from the
// mixed batch or from each domain's part of it; in evaluation from one population or from one of each domain: four
// choices, of which two use in evaluation what was used in training. All that with shared gamma and beta, and with
// those of each domain.
#include "examples/common/corruptions.h"
#include "examples/rethinking_batch/experiments.h"

namespace examples {
namespace {

struct Mixture {
  ImageDataset dataset;
  Tensor domains;  // i64 [N]
};

// Sample i is of domain i mod 3.
Mixture mixture(const ImageDataset& clean, uint64_t seed) {
  const Tensor fog = corrupt(clean.images, Corruption::fog, 4, seed), mixed = clean.images.clone();
  const Tensor domains({clean.size()}, i64);
  const int64_t pixels = mixed.numel() / clean.size();
  for (int64_t i = 0; i < clean.size(); ++i) {
    domains.mutable_data<int64_t>()[i] = i % 3;
    uint8_t* to = mixed.mutable_data<uint8_t>() + i * pixels;
    const uint8_t* foggy = fog.data<uint8_t>() + i * pixels;
    for (int64_t p = 0; p < pixels; ++p) to[p] = i % 3 == 0 ? to[p] : i % 3 == 1 ? uint8_t(255 - to[p]) : foggy[p];
  }
  ImageDataset dataset = clean;
  dataset.images = mixed;
  return {dataset, domains};
}

// The test error with each sample's domain known.
double error_by_domain(const Lab& lab, nn::Module& model, const Mixture& test) {
  double wrong = 0;
  for (int64_t d = 0; d < 3; ++d) {
    const int64_t count = (test.dataset.size() + 2 - d) / 3;
    if (count == 0) continue;
    ImageDataset part = test.dataset;
    part.images = view::slice(test.dataset.images, 0, d, test.dataset.size(), 3).contiguous();
    part.labels = view::slice(test.dataset.labels, 0, d, test.dataset.size(), 3).contiguous();
    for (int64_t first = 0; first < count; first += 512) {
      ImageDataset batch = part;
      batch.images = view::slice(part.images, 0, first, std::min(count, first + 512));
      batch.labels = view::slice(part.labels, 0, first, std::min(count, first + 512)).contiguous();
      nn::set_domains(model, full({batch.size()}, static_cast<double>(d), i64));
      wrong += error(lab, model, batch) / 100 * static_cast<double>(batch.size());
    }
  }
  return 100 * wrong / static_cast<double>(test.dataset.size());
}

Result run(Lab& lab) {
  const Mixture training = mixture(lab.train, 1), test = mixture(lab.test, 2);
  const auto row = [](bool batch, bool population) {
    return fmt::format("{} / {}", batch ? "own" : "shared", population ? "own" : "shared");
  };
  const auto column = [](bool affine) { return affine ? "own gamma and beta" : "shared gamma and beta"; };
  Table errors{"Three domains", "statistics in training / in evaluation", "test error, %"};
  errors.bars = true;
  for (const uint64_t seed : lab.all_seeds())
    for (const bool affine : {false, true})
      for (const bool batch : {false, true}) {
        Run net(lab, seed, [&](int64_t channels) {
          return nn::DomainNorm(channels, {.count = 3, .batch = batch, .population = batch, .affine = affine});
        });
        Recipe recipe = lab.recipe();
        recipe.before = [&](Run& r, const data::Batch& samples) {
          nn::set_domains(r.model, index_select(training.domains, 0, samples.indices));
        };
        train(lab, net, training.dataset, recipe);
        for (const bool population : {false, true}) {
          nn::for_each_norm(net.model,
                            [&](const std::string&, nn::Norm& norm) { norm.domains.population = population; });
          estimate(lab, net.model, training.dataset, seed, {.domains = training.domains});
          errors.add(row(batch, population), column(affine), error_by_domain(lab, net.model, test));
        }
      }
  Result result{{errors}, {}};
  for (const bool affine : {false, true})
    for (const bool batch : {false, true})
      result.parts.push_back(
          exceeds(fmt::format("trained with {} statistics and {}, the other kind of population is worse",
                              batch ? "own" : "shared", column(affine)),
                  errors.at(row(batch, !batch), column(affine)), errors.at(row(batch, batch), column(affine))));
  return result;
}

}  // namespace

const Experiment kMultiDomain{"multi_domain", "section 5.2", "Several domains, one network",
                              "The statistics of the batch and the population must be both shared by the domains or "
                              "both of each domain; mixed choices "
                              "fail.",
                              run};

}  // namespace examples
