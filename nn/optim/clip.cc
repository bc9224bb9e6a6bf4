#include "norma/nn/optim/clip.h"

#include <cmath>

#include "norma/ops/binary.h"
#include "norma/ops/reduce.h"

namespace norma::nn {

double clip_grad_norm(const Parameters& parameters, double max_norm) {
  check(max_norm > 0, "clip_grad_norm", "a largest norm of {}: want a positive one", max_norm);
  const NoGrad unrecorded;
  Tensor squares = scalar(0, f64);  // in f64: the square of a float may not be one
  for (const auto& [_, p] : parameters.named)
    if (p.grad().defined()) squares = sum(square(p.grad().to(f64))) + squares.to(p.device());
  const double norm = std::sqrt(squares.item()), scale = max_norm / (norm + 1e-6);  // as PyTorch
  if (scale >= 1 || !std::isfinite(norm)) return norm;
  for (const auto& [_, p] : parameters.named)
    if (p.grad().defined()) p.set_grad(p.grad() * scale);
  return norm;
}

void clip_grad_value(const Parameters& parameters, double limit) {
  check(limit > 0, "clip_grad_value", "a limit of {}: want a positive one", limit);
  const NoGrad unrecorded;
  for (const auto& [_, p] : parameters.named)
    if (p.grad().defined()) p.set_grad(clamp(p.grad(), -limit, limit));
}

}  // namespace norma::nn
