// Adam (Kingma & Ba, "Adam: a method for stochastic optimization", 2015), and AdamW, which takes the weight decay out
// of the gradient (Loshchilov & Hutter, "Decoupled weight decay regularization", 2019). Equal to PyTorch's.
#pragma once

#include <cmath>
#include <optional>

#include "norma/nn/optim/optimizer.h"
#include "norma/ops/optim/optim.h"

namespace norma::nn {

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  std::optional<double> weight_decay{};  // Adam: g + weight_decay p, default 0; AdamW: p *= 1 - lr weight_decay, 0.01
  ParameterGroups groups{};
};

class Adam : public Optimizer {
 public:
  explicit Adam(const Parameters& parameters, const AdamOptions& options = {})
      : Adam("Adam", parameters, options, false) {}

 protected:
  Adam(const char* name, const Parameters& parameters, const AdamOptions& options, bool decoupled)
      : Optimizer(name, parameters, options.lr, options.weight_decay.value_or(decoupled ? 0.01 : 0), options.groups,
                  {"mean", "square"}),
        o_(options),
        decoupled_(decoupled) {
    check(o_.beta1 >= 0 && o_.beta1 < 1 && o_.beta2 >= 0 && o_.beta2 < 1, name,
          "betas of {} and {}: want two in [0, 1)", o_.beta1, o_.beta2);
    check(std::isfinite(o_.eps) && o_.eps >= 0, name, "an eps of {}: want a number of at least 0", o_.eps);
  }
  void update(const Batch& batch) override {
    PoolVector<AdamStep> steps;
    for (size_t i = 0; i < batch.parameters.size(); ++i)
      steps.push_back({batch.lrs[i], o_.beta1, o_.beta2, o_.eps, batch.weight_decays[i], decoupled_, batch.steps[i]});
    kernel::adam_update(batch.parameters, batch.grads, batch.averages[0], batch.averages[1], steps);
  }

 private:
  AdamOptions o_;
  bool decoupled_;
};

struct AdamW final : Adam {
  explicit AdamW(const Parameters& parameters, const AdamOptions& options = {})
      : Adam("AdamW", parameters, options, true) {}
};

}  // namespace norma::nn
