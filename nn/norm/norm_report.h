// norm_report: does evaluation see the layers that training saw? For each norm with a population, how far the
// statistics of training's cells stray from it, and why. A diagnosis: it changes nothing.
//
// The measure is the symmetric KL divergence of two Gaussians, (KL(p|q) + KL(q|p)) / 2, in nats a channel; eps is added
// to the variances. Statistics of M independent values stray from the true ones by 1 / M on average, half of it by the
// mean (for M of 3 or less the average is infinite). So a divergence reads as a number of values: 1 / 100 is that of
// a hundred values, which are plenty (the mean is off by 0.1 deviations, the variance by 14 %), and 1 / 32 that of 32,
// which are few (0.18, and 25 %).
#pragma once

#include "norma/nn/norm/population.h"

namespace norma::nn {

inline constexpr double kSmallKl = 1.0 / 100, kLargeKl = 1.0 / 32;

struct NormReportOptions {
  int64_t samples = 2048;  // of the data set; 0: all
  int64_t batch = 0;       // of a training step; 0: the loader's
  Tensor domains{};        // i64 [size of the data set]: groups whose statistics may differ, as sources or classes do
};

struct NormReport {
  struct Layer {
    std::string path, type;
    // Divergences, each the mean over the channels (`worst`: the largest). The precise population is that of
    // precise_bn, over options.samples.
    double kl, worst;  // of training's cells from the population
    double noise,
        shuffled;    // of training's cells, and of those of batches drawn at random, from the precise population
    double lag;      // of the population from the precise one
    double domains;  // of one domain's samples from the precise population, the mean over domains
    // How many equally weighted samples the average that the population is would be worth; 0: it is no average.
    double effective_samples;

    bool inconsistent() const { return kl > kLargeKl; }  // between training and evaluation
    bool batch_too_small() const { return noise > kLargeKl; }
    // (More than `noise`: what comes of small batches alone is not the average's fault.)
    bool stale() const { return lag > kSmallKl && lag > noise; }
    bool not_iid() const { return noise > 2 * shuffled || domains > kSmallKl; }
    std::string verdict() const;  // these in words; "good", or "fair" for a kl above kSmallKl, where none is true
  };
  std::vector<Layer> layers;

  double inconsistency() const {  // the largest kl
    return layers.empty() ? 0 : std::ranges::max(layers, std::less(), &Layer::kl).kl;
  }
  std::string str() const;  // a table, with the verdicts
};

// Runs two or three passes over the samples, of which several workers make their shares (LoaderOptions::worker): each
// gets the same report; the model is as it was afterwards, its populations included.
NormReport norm_report(Module& model, const data::DataLoader& loader, const NormReportOptions& options = {});

}  // namespace norma::nn
