#include <cmath>

#include "norma/cuda/launch.h"
#include "norma/ops/optim.h"

namespace norma::cuda {
namespace {

template <class T>
void sgd(const Tensor& p, const Tensor& grad, const Tensor& velocity, const SgdStep& step) {
  T *x = p.mutable_cuda_data<T>(), *v = velocity.defined() ? velocity.mutable_cuda_data<T>() : nullptr;
  const T* dx = grad.cuda_data<T>();
  const T lr = static_cast<T>(step.lr), momentum = static_cast<T>(step.momentum),
          decay = static_cast<T>(step.weight_decay);
  const T keep = step.first ? 0 : momentum, take = step.first ? 1 : static_cast<T>(1 - step.dampening);
  const T along = step.nesterov ? momentum : 1, ahead = step.nesterov ? 1 : 0;  // as in ops/optim.cc
  for_each("sgd", p.numel(), [=] __device__(int64_t i) {
    const T g = dx[i] + decay * x[i];
    if (v) v[i] = keep * v[i] + take * g;
    x[i] -= lr * (v ? ahead * g + along * v[i] : g);
  });
}

template <class T>
void adam(const Tensor& p, const Tensor& grad, const Tensor& m, const Tensor& v, const AdamStep& step) {
  T *x = p.mutable_cuda_data<T>(), *mean = m.mutable_cuda_data<T>(), *square = v.mutable_cuda_data<T>();
  const T* dx = grad.cuda_data<T>();
  const double n = static_cast<double>(step.step);
  const T b1 = static_cast<T>(step.beta1), b2 = static_cast<T>(step.beta2), eps = static_cast<T>(step.eps);
  const T c1 = static_cast<T>(1 - step.beta1), c2 = static_cast<T>(1 - step.beta2);
  const T rate = static_cast<T>(step.lr / (1 - std::pow(step.beta1, n)));
  const T scale = static_cast<T>(1 / std::sqrt(1 - std::pow(step.beta2, n)));
  const T shrink = static_cast<T>(step.decoupled ? 1 - step.lr * step.weight_decay : 1);
  const T decay = static_cast<T>(step.decoupled ? 0 : step.weight_decay);
  for_each("adam", p.numel(), [=] __device__(int64_t i) {
    const T g = dx[i] + decay * x[i];
    mean[i] = b1 * mean[i] + c1 * g;
    square[i] = b2 * square[i] + c2 * g * g;
    x[i] = shrink * x[i] - rate * mean[i] / (std::sqrt(square[i]) * scale + eps);
  });
}

}  // namespace

void sgd_update(const Tensor& p, const Tensor& grad, const Tensor& velocity, SgdStep step) {
  dispatch_floating("sgd", p.dtype(), [&]<class T>() { sgd<T>(p, grad, velocity, step); });
}

void adam_update(const Tensor& p, const Tensor& grad, const Tensor& m, const Tensor& v, AdamStep step) {
  dispatch_floating("adam", p.dtype(), [&]<class T>() { adam<T>(p, grad, m, v, step); });
}

}  // namespace norma::cuda
