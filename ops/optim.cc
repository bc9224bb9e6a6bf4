#include "norma/ops/optim.h"

#include <cmath>

#include "norma/ops/simd.h"

NORMA_SIMD_BEGIN

static constexpr int64_t kGrain = 16384;

void sgd_update(const Tensor& p, const Tensor& grad, const Tensor& velocity, SgdStep step) {
  dispatch_floating("sgd", p.dtype(), [&]<class T>() {
    T* x = p.mutable_data<T>();
    const T* dx = grad.data<T>();
    T* v = velocity.defined() ? velocity.mutable_data<T>() : nullptr;
    const T lr = static_cast<T>(step.lr), momentum = static_cast<T>(step.momentum),
            decay = static_cast<T>(step.weight_decay);
    const T keep = step.first ? 0 : momentum, take = step.first ? 1 : static_cast<T>(1 - step.dampening);
    // Of the velocity and of the gradient in the step taken.
    const T along = step.nesterov ? momentum : 1, ahead = step.nesterov ? 1 : 0;
    parallel_for(p.numel(), kGrain, [=](int64_t begin, int64_t end) {
      if (!v) {
        for (int64_t i = begin; i < end; ++i) x[i] -= lr * (dx[i] + decay * x[i]);
      } else {
        for (int64_t i = begin; i < end; ++i) {
          const T g = dx[i] + decay * x[i];
          v[i] = keep * v[i] + take * g;
          x[i] -= lr * (ahead * g + along * v[i]);
        }
      }
    });
  });
}

void adam_update(const Tensor& p, const Tensor& grad, const Tensor& m, const Tensor& v, AdamStep step) {
  dispatch_floating("adam", p.dtype(), [&]<class T>() {
    T *x = p.mutable_data<T>(), *mean = m.mutable_data<T>(), *square = v.mutable_data<T>();
    const T* dx = grad.data<T>();
    const double n = static_cast<double>(step.step);
    const T b1 = static_cast<T>(step.beta1), b2 = static_cast<T>(step.beta2), eps = static_cast<T>(step.eps);
    const T c1 = static_cast<T>(1 - step.beta1), c2 = static_cast<T>(1 - step.beta2);
    const T rate = static_cast<T>(step.lr / (1 - std::pow(step.beta1, n)));
    const T scale = static_cast<T>(1 / std::sqrt(1 - std::pow(step.beta2, n)));
    const T shrink = static_cast<T>(step.decoupled ? 1 - step.lr * step.weight_decay : 1);
    const T decay = static_cast<T>(step.decoupled ? 0 : step.weight_decay);
    parallel_for(p.numel(), kGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T g = dx[i] + decay * x[i];
        mean[i] = b1 * mean[i] + c1 * g;
        square[i] = b2 * square[i] + c2 * g * g;
        x[i] = shrink * x[i] - rate * mean[i] / (std::sqrt(square[i]) * scale + eps);
      }
    });
  });
}

NORMA_SIMD_END
