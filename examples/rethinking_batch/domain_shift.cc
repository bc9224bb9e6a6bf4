// Section 5.1: test pictures of another domain. The ordinary network, trained on clean pictures, meets corrupted ones;
// once with its population as it is, once with one estimated on other pictures of the same corruption, without their
// labels (AdaBN). Those come from the training set, so no test picture has a part in the statistics.
#include "examples/common/corruptions.h"
#include "examples/rethinking_batch/experiments.h"

namespace examples {
namespace {

Result run(Lab& lab) {
  const std::vector<int> strengths = lab.choose<std::vector<int>>({3}, {1, 2, 3, 4, 5});
  const ImageDataset source = lab.train.first(1024);
  const char *kept = "statistics of clean pictures", *adapted = "re-estimated on the corruption";
  Table errors{fmt::format("Corruptions of strength {}", lab.choose("3", "1 to 5, the mean")), "test pictures",
               "test error, %"};
  errors.bars = true;

  // The mean over strengths of both errors, by seed.
  const auto measure = [&](const std::string& row, int count,
                           const std::function<Tensor(const Tensor&, int, uint64_t seed)>& change) {
    std::map<uint64_t, double> sum_kept, sum_adapted;
    for (int k = 0; k < count; ++k) {
      ImageDataset target = source, test = lab.test;
      target.images = change(source.images, k, 1);
      test.images = change(lab.test.images, k, 2);
      for (const uint64_t seed : lab.all_seeds()) {
        nn::Sequential& model = lab.ordinary(seed).model;
        estimate(lab, model, lab.train, seed);
        sum_kept[seed] += error(lab, model, test) / count;
        nn::adapt_bn(model, data::DataLoader(target, serving(lab, seed)));
        sum_adapted[seed] += error(lab, model, test) / count;
      }
    }
    for (const uint64_t seed : lab.all_seeds()) {
      errors.add(row, kept, sum_kept[seed]);
      errors.add(row, adapted, sum_adapted[seed]);
    }
  };
  measure("clean", 1, [](const Tensor& images, int, uint64_t) { return images; });
  for (const Corruption corruption : kCorruptions)
    measure(name(corruption), static_cast<int>(strengths.size()), [&](const Tensor& images, int k, uint64_t seed) {
      return corrupt(images, corruption, strengths[k], seed);
    });

  const auto over_corruptions = [&](const char* column) {
    Values sum = 0.0 * errors.at("clean", column);
    for (const Corruption c : kCorruptions) sum = sum + (1.0 / std::size(kCorruptions)) * errors.at(name(c), column);
    return sum;
  };
  const Values shifted = over_corruptions(kept), recovered = over_corruptions(adapted),
               clean = errors.at("clean", kept);
  return {
      {errors},
      {exceeds("on the mean of the corruptions, re-estimated statistics lower the error", shifted, recovered),
       exceeds("they recover at least a third of what the corruptions cost", (2.0 / 3) * shifted + (1.0 / 3) * clean,
               recovered, 0),
       no_worse("on clean pictures, re-estimated statistics are no worse", errors.at("clean", adapted), clean, 0.5)}};
}

}  // namespace

const Experiment kDomainShift{"domain_shift", "section 5.1", "Test pictures of another domain",
                              "On corrupted test pictures, statistics re-estimated on the target domain, without "
                              "labels, recover much of the loss.",
                              run};

}  // namespace examples
