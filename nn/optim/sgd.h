// Stochastic gradient descent, with momentum; equal to PyTorch's.
#pragma once

#include <cmath>

#include "norma/nn/optim/optimizer.h"

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
        rule_{options.momentum, options.dampening, options.nesterov} {
    check(rule_.momentum >= 0 && rule_.momentum < 1, "SGD", "a momentum of {}: want one in [0, 1)", rule_.momentum);
    check(std::isfinite(rule_.dampening), "SGD", "a dampening of {}: want a number", rule_.dampening);
    check(!rule_.nesterov || (rule_.momentum > 0 && rule_.dampening == 0), "SGD",
          "nesterov wants a momentum and no dampening, not {} and {}", rule_.momentum, rule_.dampening);
  }

 private:
  void update(std::span<const ParameterStep> steps) override { kernel::sgd_update(steps, rule_); }
  SgdRule rule_;
};

}  // namespace norma::nn
