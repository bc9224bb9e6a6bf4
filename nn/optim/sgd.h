// Stochastic gradient descent, with momentum; equal to PyTorch's.
#pragma once

#include <cmath>

#include "norma/nn/optim/optimizer.h"
#include "norma/ops/optim/optim.h"

namespace norma::nn {

struct SGDOptions {
  double lr = 1e-3;
  double momentum = 0;
  bool nesterov = false;    // Sutskever et al., "On the importance of initialization and momentum ...", 2013
  double weight_decay = 0;  // added to the gradient: g + weight_decay p
  double dampening = 0;     // of what enters the velocity
  ParameterGroups groups{};
};

// v = momentum v + (1 - dampening) g, at first v = g;  p -= lr v, or with nesterov lr (g + momentum v).
class SGD final : public Optimizer {
 public:
  explicit SGD(const Parameters& parameters, const SGDOptions& options = {})
      : Optimizer("SGD", parameters, options.lr, options.weight_decay, options.groups,
                  options.momentum != 0 ? std::vector{"velocity"} : std::vector<const char*>{}),
        o_(options) {
    check(o_.momentum >= 0 && o_.momentum < 1, "SGD", "a momentum of {}: want one in [0, 1)", o_.momentum);
    check(std::isfinite(o_.dampening), "SGD", "a dampening of {}: want a number", o_.dampening);
    check(!o_.nesterov || (o_.momentum > 0 && o_.dampening == 0), "SGD",
          "nesterov wants a momentum and no dampening, not {} and {}", o_.momentum, o_.dampening);
  }

 private:
  void update(const Batch& batch) override {
    PoolVector<SgdStep> steps;
    for (size_t i = 0; i < batch.parameters.size(); ++i)
      steps.push_back(
          {batch.lrs[i], o_.momentum, o_.dampening, batch.weight_decays[i], o_.nesterov, batch.steps[i] == 1});
    kernel::sgd_update(batch.parameters, batch.grads, batch.averages[0], steps);
  }
  SGDOptions o_;
};

}  // namespace norma::nn
