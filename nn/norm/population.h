// The population of a model's norms, the mean and variance that they use in evaluation, estimated anew from data of
// your choice, frozen, or folded into the weights. (How training moves it: Estimator in nn/norm/norm.h.)
//
//   nn::precise_bn(model, train);                        // of the training set, with the weights as they are now
//   nn::adapt_bn(model, target, {.samples = 2000});      // of another domain: AdaBN (Li et al. 2016)
//   nn::precise_bn(model, [&] { for (const Tensor& x : mine) model(x); });      // of whatever passes you make
//
// One pass estimates all layers, each from what it receives while the norms before it normalize by the mini-batch. It
// runs in evaluation mode, without dropout. Nothing but the populations changes (no weights, modes, random numbers or
// position of the loader), and those only at the end: if the pass throws, they are as they were.
#pragma once

#include "norma/nn/data/loader.h"
#include "norma/nn/norm/norm.h"

namespace norma::nn {

// Which variance is kept. (Training averages the unbiased variances of its batches.)
enum class PreciseVariance : uint8_t {
  merged,            // the biased variance of everything that the layer received, merged by Chan's rule
  mean_of_variances  // the mean of the batches' unbiased ones, weighed by their degrees of freedom (Ioffe & Szegedy
                     // 2015)
};

struct PreciseOptions {
  int64_t samples = 0;  // how many of the data set, drawn at random; 0: all
  // The largest batch; batches are of about one size. In small ones a layer's output strays, and so does the next
  // layer's estimate.
  int64_t batch = 512;
  PreciseVariance variance = PreciseVariance::merged;
  bool frozen = false;  // also estimate layers with the source `given`; else these keep their population and use it
  Tensor domains{};     // for layers with domains: i64 [size of the data set], the domain of each sample
  // Whose passes these are, if several workers make some each: all call this, and all get the same. A loader brings its
  // own (LoaderOptions::worker).
  data::WorkerShare worker{};
};

// Returns the number of layers estimated: those that received anything. Of a loader it takes the data set, transforms,
// normalization and worker, but not the batches. Errors: options out of range, domains of another shape.
int64_t precise_bn(Module& model, const data::DataLoader& loader, PreciseOptions options = {});
int64_t precise_bn(Module& model, const std::function<void()>& passes, const PreciseOptions& options = {});
// The same on another domain, frozen layers included. The loader should normalize by the statistics of the training
// set.
inline int64_t adapt_bn(Module& model, const data::DataLoader& target, PreciseOptions options = {}) {
  options.frozen = true;
  return precise_bn(model, target, options);
}

// Makes norms over samples use their population in training, too: constant affine maps. Returns their number.
int64_t freeze_bn(Module& model);

struct Folded {
  int64_t count = 0;              // norms that were folded
  std::vector<std::string> left;  // those that were not, each with the reason: "bn2: its input goes elsewhere too"
};

// For inference: puts norms into the weights before them. With mean and s = sqrt(var + eps) of a norm's population, the
// Conv2d or Linear before it becomes
//   weight <- weight gamma / s,   bias <- (bias - mean) gamma / s + beta        (a bias is made where there was none)
// and the norm keeps only its residual, activation and pooling (NormSettings::identity; its parameters and population
// become neutral). Which layer stands before which norm is found by recording one pass over `example`, a batch as the
// model takes it; so the layers have to be connected alike for all inputs. A norm is left alone unless it follows one
// layer, once. Errors: NoGrad, or a pending tape entry that has saved a parameter.
Folded fold_norm(Module& model, const Tensor& example);

// --- For estimators and reports.

// Runs `passes` in evaluation mode (norms with a population in training mode if `training`), with f as Norm::collect of
// each layer that has a population; if `frozen`, of those with given statistics, too. Afterwards, also if it throws,
// all is as it was.
using CollectMoments = std::function<void(Norm& norm, const std::vector<Tensor>& xs, const Moments& moments)>;
void collect_moments(Module& model, bool frozen, bool training, const CollectMoments& f,
                     const std::function<void()>& passes);

// The moments that the workers give, merged; m where there is one worker. Where a norm's grouping is across workers,
// its moments are already those of all, or of some: `merged` is then its communicator, else null.
Moments merge_workers(const data::WorkerShare& share, const Communicator* merged, const Moments& m);

// Runs the model, unrecorded, on `samples` samples of the loader's data set (0: all) in batches of `batch`; a last one
// of a single sample is left out, since it may have no variance. domains: as in PreciseOptions; each norm has those of
// the batch as its `ids`. Of several workers each runs its share of each batch.
void run_batches(Module& model, const data::DataLoader& loader, int64_t samples, int64_t batch, bool shuffle,
                 const Tensor& domains);

}  // namespace norma::nn
