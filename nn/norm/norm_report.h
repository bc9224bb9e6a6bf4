// norm_report: does evaluation see the layers that training saw? For each norm with a population, how far the
// statistics of training batches stray from it, and why.
//
// The measure is the symmetric KL divergence of two Gaussians, (KL(p|q) + KL(q|p)) / 2 in nats a channel, eps added to
// the variances. Statistics of M independent values stray by 1 / M on average, half of it by the mean, so that it reads
// as a number of values (M above 3: of fewer, the average has no bound). A hundred are plenty: the mean is off by 0.1
// deviations, the variance by 14 %. Fewer than 32 are few: 0.18, and 25 %.
#pragma once

#include "norma/nn/norm/population.h"

namespace norma::nn {

inline constexpr double kSmallKl = 1.0 / 100, kLargeKl = 1.0 / 32;

struct NormReportOptions {
  int64_t samples = 2048;  // of the data set; 0: all
  int64_t batch = 0;       // of a training step; 0: the loader's
  Tensor domains{};        // i64 [size of the data set]: what might tell samples apart, such as their source or class
};

struct NormReport {
  struct Layer {
    std::string path, type;
    double kl, worst;          // of training's cells from the population: the mean over channels, the worst channel
    double noise, shuffled;    // of these cells, and of those of batches drawn at random, from the precise population
    double lag;                // of the population from the precise one
    double domains;            // of one domain's samples from the precise one, the mean over domains
    double effective_samples;  // by their weights in the average that the population is; 0: it is none

    bool inconsistent() const { return kl > kLargeKl; }  // between training and evaluation
    bool batch_too_small() const { return noise > kLargeKl; }
    bool stale() const { return lag > kSmallKl && lag > noise; }  // a small batch's bias is not the average's fault
    bool not_iid() const { return noise > 2 * shuffled || domains > kSmallKl; }
    std::string verdict() const;
  };
  std::vector<Layer> layers;

  double inconsistency() const;  // the largest `kl`
  std::string str() const;       // a table, with verdicts in words
};

// Leaves the model as it was, as precise_bn does, and its populations too.
NormReport norm_report(Module& model, const data::DataLoader& loader, const NormReportOptions& options = {});

}  // namespace norma::nn
