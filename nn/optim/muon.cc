#include "norma/nn/optim/muon.h"

#include "norma/ops/elementwise/binary.h"
#include "norma/ops/linalg/matmul.h"
#include "norma/ops/reduce/reduce.h"

namespace norma::nn {

// u [M, N]
static Tensor orthogonalized(const Tensor& u) {
  const auto transposed = [](const Tensor& x) { return view::permute(x, {1, 0}); };
  if (u.dim(0) > u.dim(1)) return transposed(orthogonalized(transposed(u)));  // so that a, below, is the smaller square
  Tensor x = u / (sqrt(sum(square(u.to(f64)))) + 1e-7).to(u.dtype());  // in f64: the square of a float may not be one
  for (int i = 0; i < 5; ++i) {
    const Tensor a = matmul(x, transposed(x));
    x = x * 3.4445 + matmul(a * -4.7750 + matmul(a, a) * 2.0315, x);
  }
  return x;
}

Muon::Muon(const Parameters& parameters, const MuonOptions& options)
    : Adam("Muon", parameters,
           {options.lr, options.beta1, options.beta2, options.eps, options.weight_decay, options.groups}, true),
      momentum_(options.momentum),
      nesterov_(options.nesterov) {
  const double scale = options.rest_scale;
  check(momentum_ >= 0 && momentum_ < 1 && std::isfinite(scale) && scale >= 0, "Muon",
        "momentum {}, rest_scale {}: want one in [0, 1), and a number of at least 0", momentum_, scale);
  parameters.matching(options.which, "Muon");  // throws where a glob is for nothing
  for (Slot& slot : slots_) {
    if (slot.parameter.rank() >= 2 && options.which.takes(slot.name, slot.parameter))
      slot.averages = {{"velocity", slot.averages[0].second}};
    else slot.lr_scale *= scale;
  }
}

void Muon::update(std::span<const ParameterStep> steps) {
  const NoGrad unrecorded;
  PoolVector<ParameterStep> rest;
  PoolVector<std::pair<Tensor, Tensor>> results;  // of matrices: where, and what will be there
  for (const ParameterStep& step : steps) {
    const auto& [p, g, averages, lr, decay, _] = step;
    if (averages[1].defined()) {
      rest.push_back(step);
    } else if (p.numel() > 0) {
      const Shape matrix = {p.dim(0), p.numel() / p.dim(0)};
      const double tall = std::max(1., static_cast<double>(matrix[0]) / static_cast<double>(matrix[1]));
      const Tensor v = averages[0] * momentum_ + g * (1 - momentum_);
      const Tensor u = orthogonalized(view::reshape(nesterov_ ? g * (1 - momentum_) + v * momentum_ : v, matrix));
      results.emplace_back(averages[0], v);
      results.emplace_back(p, p * (1 - lr * decay) - view::reshape(u, p.shape()) * (lr * std::sqrt(tall)));
    }
  }
  if (!rest.empty()) Adam::update(rest);
  for (const auto& [target, value] : results) target.copy_from(value);  // which needs no memory that might be missing
}

}  // namespace norma::nn
