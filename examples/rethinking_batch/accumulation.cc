// Section 3.3: the batch of the estimation. From the same samples, precise statistics are estimated with batches of 2
// to 512. While that goes on each layer normalizes by the batch it sees, so the next layer receives what it would not
// receive in evaluation, and hands its own error on. The ordinary network; two ways of putting the batches' variances
// together.
#include "examples/rethinking_batch/experiments.h"

namespace examples {
namespace {

struct Population {
  std::string layer;
  std::vector<double> mean, var;
};

std::vector<Population> populations(nn::Module& model) {
  std::vector<Population> result;
  nn::for_each_norm(model, [&](const std::string&, nn::Norm& norm) {
    result.push_back({std::to_string(result.size() + 1), norm.running_mean.to_vector<double>(),
                      norm.running_var.to_vector<double>()});
  });
  return result;
}

// The symmetric Kullback-Leibler divergence of two Gaussians, the mean over channels.
double divergence(const Population& p, const Population& q) {
  double sum = 0;
  for (size_t c = 0; c < p.mean.size(); ++c) {
    const double v = p.var[c] + 1e-5, w = q.var[c] + 1e-5, d = p.mean[c] - q.mean[c];
    sum += 0.25 * ((v - w) * (v - w) / (v * w) + d * d * (1 / v + 1 / w));
  }
  return sum / static_cast<double>(p.mean.size());
}

Result run(Lab& lab) {
  const int64_t samples = std::min<int64_t>(lab.choose(1024, 4096), lab.train.size());
  const int64_t large = std::min<int64_t>(512, samples);
  std::vector<int64_t> batches = lab.choose<std::vector<int64_t>>({2, 8, 32, 128}, {2, 4, 8, 16, 32, 128});
  std::erase_if(batches, [&](int64_t batch) { return batch >= large; });
  Table errors{fmt::format("Statistics of the same {} samples", samples), "batch of the estimation", "test error, %",
               true};
  Table layers{"Distance from the large batch's statistics", "norm layer", "symmetric KL, nats a channel"};
  std::string last;
  for (const uint64_t seed : lab.all_seeds()) {
    nn::Sequential& model = lab.ordinary(seed).model;
    const auto measure = [&](int64_t batch) {
      estimate(lab, model, lab.train, seed,
               {.samples = samples, .batch = batch, .variance = nn::PreciseVariance::mean_of_variances});
      const double of_variances = error(lab, model, lab.test);
      estimate(lab, model, lab.train, seed, {.samples = samples, .batch = batch});
      errors.add(batch, "merged moments", error(lab, model, lab.test));
      errors.add(batch, "mean of variances", of_variances);
      return populations(model);
    };
    std::map<int64_t, std::vector<Population>> found;
    for (const int64_t batch : batches) found[batch] = measure(batch);
    const std::vector<Population> best = measure(large);
    last = best.back().layer;
    for (size_t l = 0; l < best.size(); ++l)
      for (const int64_t batch : {2, 8, 32})
        if (found.contains(batch))
          layers.add(best[l].layer, fmt::format("batch {}", batch), divergence(found[batch][l], best[l]));
  }
  return {{errors, layers},
          {exceeds("statistics by batches of 2 give a higher error than by large ones", errors.at(2, "merged moments"),
                   errors.at(large, "merged moments")),
           exceeds("by batches of 2, the last layer's statistics are farther off than the first's",
                   layers.at(last, "batch 2"), layers.at("1", "batch 2"), 0, "nats")}};
}

}  // namespace

const Experiment kAccumulation{"accumulation", "section 3.3", "Small batches in the estimation",
                               "Statistics estimated with small batches accumulate an error through the layers, at the "
                               "same number of samples.",
                               run};

}  // namespace examples
