// Adam (Kingma & Ba, "Adam: a method for stochastic optimization", 2015), and AdamW, which takes the weight decay out
// of the gradient (Loshchilov & Hutter, "Decoupled weight decay regularization", 2019). Equal to PyTorch's.
#pragma once

#include <cmath>
#include <optional>

#include "norma/nn/optim/optimizer.h"

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
        rule_{options.beta1, options.beta2, options.eps, decoupled} {
    const auto& [beta1, beta2, eps, _] = rule_;
    check(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, name, "betas of {} and {}: want two in [0, 1)", beta1,
          beta2);
    check(std::isfinite(eps) && eps >= 0, name, "an eps of {}: want a number of at least 0", eps);
  }
  void update(std::span<const ParameterStep> steps) override { kernel::adam_update(steps, rule_); }

 private:
  AdamRule rule_;
};

struct AdamW final : Adam {
  explicit AdamW(const Parameters& parameters, const AdamOptions& options = {})
      : Adam("AdamW", parameters, options, true) {}
};

}  // namespace norma::nn
