// Populations, estimated anew: the statistics that norms over samples use in evaluation, from data of your choice.
//
//   nn::precise_bn(model, train);                        // of the training set, with the weights as they are now
//   nn::adapt_bn(model, target, {.samples = 2000});      // of another domain: AdaBN (Li et al. 2016)
//   nn::precise_bn(model, [&] { for (const Tensor& x : mine) model(x); });      // of whatever passes you make
//
// One pass estimates all layers, each from what it receives while those before it normalize by the batch. Evaluation
// mode: no dropout. Nothing but the populations changes - weights, modes, random numbers, the loader's position - and
// those only once the pass is through: if it throws, they are as they were.
#pragma once

#include "norma/nn/data/loader.h"
#include "norma/nn/norm/norm.h"

namespace norma::nn {

// Which variance is kept. (Training averages the unbiased variances of its batches.)
enum class PreciseVariance : uint8_t {
  merged,            // M2 / count of everything the layer received, merged exactly
  mean_of_variances  // M / (M - 1) E[var_b] (Ioffe & Szegedy 2015; uneven batches by their degrees of freedom)
};

struct PreciseOptions {
  int64_t samples = 0;  // so many of the data set, drawn at random; 0: all
  int64_t batch = 512;  // at most: made even. Small ones make an error in each layer, which the next one takes over
  PreciseVariance variance = PreciseVariance::merged;
  bool frozen = false;  // layers with the source `given` too; else these keep their population and apply it
  Tensor domains{};     // i64 [size of the data set], for layers with domains: that of each sample
};

// Returns the number of layers estimated: those that received anything. From a loader come its data set, transforms and
// normalization, but not its batches.
int64_t precise_bn(Module& model, const data::DataLoader& loader, const PreciseOptions& options = {});
int64_t precise_bn(Module& model, const std::function<void()>& passes, const PreciseOptions& options = {});
// The same on another domain, frozen layers included. The loader's normalization should be that of the training.
inline int64_t adapt_bn(Module& model, const data::DataLoader& target, PreciseOptions options = {}) {
  options.frozen = true;
  return precise_bn(model, target, options);
}

// Makes norms over samples constant affine maps by their population, in training too. Returns their number.
int64_t freeze_bn(Module& model);

struct Folded {
  int64_t count = 0;              // norms that are gone
  std::vector<std::string> left;  // those that are not, each with the reason: "bn2: its input goes elsewhere too"
};

// For inference. With s = sqrt(var + eps) of its population, the Conv2d or Linear before a norm becomes
//   weight <- weight gamma / s,   bias <- (bias - mean) gamma / s + beta        (a bias is made where there was none)
// and the norm the identity but for its activation and residual (`identity`, with neutral parameters and population).
// What stands before what is found by one recorded pass over `example`, a batch as the model takes it: for models whose
// layers are connected alike for all inputs. Left alone is whatever is not one norm after one layer.
Folded fold_norm(Module& model, const Tensor& example);

// --- For estimators and reports.

// Runs `passes` in evaluation mode, except for norms where `training`, and calls f as Norm::collect would be, for each
// layer with a population (a frozen one if wanted). Afterwards, and if it throws, all is as it was.
using CollectMoments = std::function<void(Norm& norm, const std::vector<Tensor>& xs, const Moments& moments)>;
void collect_moments(Module& model, bool frozen, bool training, const CollectMoments& f,
                     const std::function<void()>& passes);

// Runs the model on samples of the loader's data set (0: all), unrecorded, in batches of `batch`; a last one of a
// single sample is left out. `before` is told the domains of each batch.
void run_batches(Module& model, const data::DataLoader& loader, int64_t samples, int64_t batch, bool shuffle,
                 const Tensor& domains, const std::function<void(const Tensor&)>& before = {});

}  // namespace norma::nn
