#include <algorithm>
#include <cmath>

#include "norma/core/simd/vectors.h"
#include "norma/ops/optim/optim.h"

NORMA_SIMD_BEGIN

namespace {

constexpr int64_t kGrain = 16384;

// In parallel, calls f.operator()<T>(i, begin, end) for the elements [begin, end) of tensor i, as if all lay one behind
// the other: small ones are done together.
template <class F>
void for_all(const char* op, std::span<const Tensor> tensors, F&& f) {
  PoolVector<int64_t> ends;
  for (const Tensor& x : tensors) ends.push_back((ends.empty() ? 0 : ends.back()) + x.numel());
  parallel_for(ends.empty() ? 0 : ends.back(), kGrain, [&](int64_t begin, int64_t end) {
    size_t i = static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin());
    for (int64_t to; begin < end; begin = to, ++i) {
      const int64_t start = ends[i] - tensors[i].numel();
      to = std::min(end, ends[i]);
      dispatch_floating(op, tensors[i].dtype(),
                        [&]<class T>() { f.template operator()<T>(i, begin - start, to - start); });
    }
  });
}

}  // namespace

void sgd_update(std::span<const Tensor> p, std::span<const Tensor> grad, std::span<const Tensor> velocity,
                std::span<const SgdStep> steps) {
  for_all("sgd", p, [&]<class T>(size_t k, int64_t begin, int64_t end) {
    const SgdStep& step = steps[k];
    T* __restrict x = p[k].mutable_data<T>(), * __restrict v =
                                                  velocity[k].defined() ? velocity[k].mutable_data<T>() : nullptr;
    const T* __restrict dx = grad[k].data<T>();
    const T lr = static_cast<T>(step.lr), momentum = static_cast<T>(step.momentum),
            decay = static_cast<T>(step.weight_decay);
    const T keep = step.first ? 0 : momentum, take = step.first ? 1 : static_cast<T>(1 - step.dampening);
    // Of the velocity and of the gradient in the step taken.
    const T along = step.nesterov ? momentum : 1, ahead = step.nesterov ? 1 : 0;
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
}

void adam_update(std::span<const Tensor> p, std::span<const Tensor> grad, std::span<const Tensor> m,
                 std::span<const Tensor> v, std::span<const AdamStep> steps) {
  for_all("adam", p, [&]<class T>(size_t k, int64_t begin, int64_t end) {
    const AdamStep& step = steps[k];
    T* __restrict x = p[k].mutable_data<T>(), * __restrict mean = m[k].mutable_data<T>(), * __restrict square = v[k].mutable_data<T>();
    const T* __restrict dx = grad[k].data<T>();
    const double n = static_cast<double>(step.step);
    const T b1 = static_cast<T>(step.beta1), b2 = static_cast<T>(step.beta2), eps = static_cast<T>(step.eps);
    const T c1 = static_cast<T>(1 - step.beta1), c2 = static_cast<T>(1 - step.beta2);
    const T rate = static_cast<T>(step.lr / (1 - std::pow(step.beta1, n)));
    const T scale = static_cast<T>(1 / std::sqrt(1 - std::pow(step.beta2, n)));
    const T shrink = static_cast<T>(step.decoupled ? 1 - step.lr * step.weight_decay : 1);
    const T decay = static_cast<T>(step.decoupled ? 0 : step.weight_decay);
    for (int64_t i = begin; i < end; ++i) {
      const T g = dx[i] + decay * x[i];
      mean[i] = b1 * mean[i] + c1 * g;
      square[i] = b2 * square[i] + c2 * g * g;
      x[i] = shrink * x[i] - rate * mean[i] / (std::sqrt(square[i]) * scale + eps);
    }
  });
}

NORMA_SIMD_END
