// WeightAverage: an average of a model's weights over the steps, exponential (EMA) or of equal shares (SWA), held by a
// second model of the same kind.
//
//   Net model, averaged;
//   nn::WeightAverage average(model, averaged, {.decay = 0.999});
//   optimizer.step();  average.update();  ...
//   nn::precise_bn(averaged, loader);  evaluate(averaged);
//   save_checkpoint(path, {{{"model", model}, {"average", average}}, optimizer}, progress);
//
// It is no average of populations: these are to be estimated for the averaged weights (nn::precise_bn).
#pragma once

#include <optional>

#include "norma/nn/optim/optimizer.h"
#include "norma/nn/state.h"
#include "norma/ops/elementwise/binary.h"

namespace norma::nn {

// Which average: exponential, or of equal shares.
struct WeightAverageOptions {
  // EMA: the share of the former average in the next one, in [0, 1); with warm_up no more than n / (n + 9) in update n,
  // from 1. None: all updates have equal shares (Izmailov et al., "Averaging weights leads to wider optima and better
  // generalization", 2018), so that the first one is the weights themselves.
  std::optional<double> decay{};
  bool warm_up = true;
};

// An average of a model's weights, held by a second model. Names are PyTorch's, of AveragedModel: "module.conv.weight",
// ..., "n_averaged" (i64 [], how many updates there were). Both models outlive it, on the device where they are now.
class WeightAverage : public Module {
 public:
  // `averaged` becomes a copy of the model, buffers too. Errors, before it does: two that are not of the same
  // kind, which lists all that does not fit; parameters that the two share; a decay out of range.
  WeightAverage(Module& model, Module& averaged, const WeightAverageOptions& options = {})
      : averaged_(&averaged), all_(model), o_(options) {
    check(!o_.decay || (*o_.decay >= 0 && *o_.decay < 1), "WeightAverage", "a decay of {}: want one in [0, 1)",
          o_.decay.value_or(0));
    const NamedTensors averages = averaged.named_parameters();
    check(averages.size() == all_.named.size(), "WeightAverage", "{} parameters, and {} to be their averages",
          all_.named.size(), averages.size());
    all_.named.insert(all_.named.end(), averages.begin(), averages.end());
    all_.check_distinct("WeightAverage");
    assign("WeightAverage", "the average", averaged.state_dict(), model.state_dict());
  }

  void update() {  // behind a step of the optimizer
    const NoGrad unrecorded;
    const double n = n_averaged.item() + 1, most = o_.warm_up ? n / (n + 9) : 1;
    check(n >= 1, "WeightAverage", "n_averaged is {}: want a count", n - 1);
    const double share = o_.decay ? 1 - std::min(*o_.decay, most) : 1 / n;
    for (size_t i = 0, count = all_.named.size() / 2; i < count; ++i) {
      const Tensor &weight = all_.named[i].second, &average = all_.named[count + i].second;
      average.copy_from(share == 1 ? weight : average + (weight - average) * share);
    }
    n_averaged.fill(n);
  }

  Tensor forward(const Tensor& x) override { return (*averaged_)(x); }
  void visit(Visitor& visitor) override { visitor.members("module, n_averaged", averaged_, n_averaged); }
  Buffer n_averaged{zeros({}, i64)};

 private:
  Module* averaged_;
  Parameters all_;  // the model's, and then the average's
  WeightAverageOptions o_;
};

}  // namespace norma::nn
