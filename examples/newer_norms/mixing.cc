// Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation" (2020): test
// pictures of another domain, that come a few at a time. Their own statistics fit the domain but are noisy; the
// population is of the other domain. Mixed, as if the population were worth 16 samples, they should be better than
// either.
#include "examples/common/corruptions.h"
#include "examples/newer_norms/experiments.h"

namespace examples::newer_norms {
namespace {

constexpr double kPseudoSamples = 16;  // what the paper finds good for small batches

Result run(Lab& lab) {
  const std::vector<int> strengths = lab.choose<std::vector<int>>({3}, {2, 4});
  const std::vector<int64_t> batches = {4, 16};
  const char *source = "population", *target = "mini-batch", *mixed = "mixed";
  Table errors{fmt::format("Corruptions of strength {}, the mean", lab.choose("3", "2 and 4")), "test batch",
               "test error, %"};
  errors.bars = true;
  for (const uint64_t seed : lab.all_seeds()) {
    nn::Sequential& model = lab.ordinary(seed).model;
    estimate(lab, model, lab.train, seed);
    const auto evaluate_by = [&](nn::EvalStatistics by, double pseudo_samples) {
      nn::for_each_norm(model, [&](const std::string&, nn::Norm& norm) {
        norm.evaluation = by;
        norm.pseudo_samples = pseudo_samples;
      });
    };
    const auto measured = [&](const ImageDataset& test, nn::EvalStatistics by, int64_t batch) {
      evaluate_by(by, kPseudoSamples);
      return error(lab, model, test, By::population, batch);
    };
    std::map<std::pair<int64_t, std::string>, double> mean;
    const double share = 1.0 / static_cast<double>(strengths.size() * kCorruptions.size());
    for (const Corruption corruption : kCorruptions)
      for (const int strength : strengths) {
        ImageDataset test = lab.test;
        test.images = corrupt(lab.test.images, corruption, strength, 2);
        const double kept = measured(test, nn::EvalStatistics::population, 512);
        for (const int64_t batch : batches) {
          mean[{batch, source}] += share * kept;
          mean[{batch, target}] += share * measured(test, nn::EvalStatistics::mini_batch, batch);
          mean[{batch, mixed}] += share * measured(test, nn::EvalStatistics::mixed, batch);
        }
      }
    evaluate_by(nn::EvalStatistics::population, 0);  // as the other experiments expect it
    for (const int64_t batch : batches)
      for (const char* column : {source, target, mixed}) errors.add(batch, column, mean[{batch, column}]);
  }
  Result result{{errors}, {}};
  for (const int64_t batch : batches)
    for (const char* other : {source, target})
      result.parts.push_back(exceeds(fmt::format("in test batches of {}, {} statistics are worse than mixed ones",
                                                 batch, other == source ? "the population's" : "the mini-batch's"),
                                     errors.at(batch, other), errors.at(batch, mixed)));
  return result;
}

}  // namespace

const Experiment kMixing{"mixing", "Schneider et al. 2020", "Few test pictures of another domain",
                         "On corrupted pictures that come a few at a time, statistics mixed as if the population were "
                         "worth 16 samples are better than the population's and than the mini-batch's.",
                         run};

}  // namespace examples::newer_norms
