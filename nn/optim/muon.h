// Muon (Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024): the momentum of a matrix is made
// nearly orthogonal before it is the step, so that all its directions move alike.
#pragma once

#include "norma/nn/optim/adam.h"

namespace norma::nn {

// Muon's, and AdamW's for the rest.
struct MuonOptions {
  double lr = 0.02;
  double momentum = 0.95;
  bool nesterov = true;
  double weight_decay = 0;  // p *= 1 - lr weight_decay, for all parameters
  // Of the parameters of two axes and more, which are orthogonalized. The embedding and the last layer of a
  // transformer, say, are better left to the rule for the rest.
  Selector which = "*";
  // The rest (vectors, and what `which` leaves out) follow AdamW, with rest_scale times the learning rate.
  double rest_scale = 0.015;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-10;
  ParameterGroups groups{};
};

// Momentum whose directions all move alike. For a matrix [M, N], or filters [O, KH, KW, I] taken as [O, KH * KW * I]:
//   v = momentum v + (1 - momentum) g;  u = nesterov ? (1 - momentum) g + momentum v : v
//   p = (1 - lr weight_decay) p - lr sqrt(max(1, M / N)) orthogonalized(u)
// orthogonalized(u) has u's singular vectors, and singular values between about 0.7 and 1.2: x = u / (|u| + 1e-7), and
// then five times x = 3.4445 x + (-4.7750 a + 2.0315 a a) x with a = x x^T, all in the parameter's dtype. State:
// "velocity"; of the rest "mean" and "square".
class Muon final : public Adam {
 public:
  explicit Muon(const Parameters& parameters, const MuonOptions& options = {});

 private:
  void update(std::span<const ParameterStep> steps) override;
  double momentum_;
  bool nesterov_;
};

}  // namespace norma::nn
