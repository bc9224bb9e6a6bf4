#include <cmath>

#include "norma/cuda/launch.h"
#include "norma/ops/optim/optim.h"

namespace norma::cuda {
namespace {

// What one kernel updates: so many parameters that its arguments stay below CUDA's 4 KiB.
template <class Update>
struct Updates {
  static constexpr int64_t kMost = 3584 / sizeof(Update);
  Update update[kMost];
};

template <class Update>
__global__ void update_kernel(Updates<Update> all) {
  const Update& update = all.update[blockIdx.y];
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < update.n; i += step) update(i);
}

// Update<T>(k)(i) for the elements i of all parameters k: as many as there is room for in one kernel, by dtype.
template <template <class> class Update, class Make>
void update_all(const char* op, std::span<const Tensor> parameters, Make make) {
  const auto of_type = [&]<class T>() {
    Updates<Update<T>> some;
    unsigned count = 0;
    int64_t most = 0;
    const auto start = [&] {
      const int64_t blocks = std::min<int64_t>((most + kThreads - 1) / kThreads, context().multiprocessors * 8);
      if (blocks > 0) launch(op, {static_cast<unsigned>(blocks), count}, kThreads, update_kernel<Update<T>>, some);
      count = 0, most = 0;
    };
    for (size_t k = 0; k < parameters.size(); ++k) {
      if (parameters[k].dtype() != dtype_of<T>()) continue;
      if (count == some.kMost) start();
      some.update[count++] = make.template operator()<T>(k);
      most = std::max(most, parameters[k].numel());
    }
    start();
  };
  of_type.template operator()<float>();
  of_type.template operator()<double>();
}

template <class T>
struct Sgd {
  int64_t n;
  T *x, *v;  // v null: no momentum
  const T* dx;
  T lr, decay, keep, take, along, ahead;

  Sgd() = default;
  Sgd(const Tensor& p, const Tensor& grad, const Tensor& velocity, const SgdStep& step)
      : n(p.numel()),
        x(p.mutable_cuda_data<T>()),
        v(velocity.defined() ? velocity.mutable_cuda_data<T>() : nullptr),
        dx(grad.cuda_data<T>()),
        lr(static_cast<T>(step.lr)),
        decay(static_cast<T>(step.weight_decay)),
        keep(static_cast<T>(step.first ? 0 : step.momentum)),
        take(static_cast<T>(step.first ? 1 : 1 - step.dampening)),
        along(static_cast<T>(step.nesterov ? step.momentum : 1)),
        ahead(step.nesterov) {}
  __device__ void operator()(int64_t i) const {
    const T g = dx[i] + decay * x[i];
    if (v) v[i] = keep * v[i] + take * g;
    x[i] -= lr * (v ? ahead * g + along * v[i] : g);
  }
};

template <class T>
struct Adam {
  int64_t n;
  T *x, *mean, *square;
  const T* dx;
  T b1, b2, c1, c2, eps, rate, scale, shrink, decay;

  Adam() = default;
  Adam(const Tensor& p, const Tensor& grad, const Tensor& m, const Tensor& s, const AdamStep& step)
      : n(p.numel()),
        x(p.mutable_cuda_data<T>()),
        mean(m.mutable_cuda_data<T>()),
        square(s.mutable_cuda_data<T>()),
        dx(grad.cuda_data<T>()),
        b1(static_cast<T>(step.beta1)),
        b2(static_cast<T>(step.beta2)),
        c1(static_cast<T>(1 - step.beta1)),
        c2(static_cast<T>(1 - step.beta2)),
        eps(static_cast<T>(step.eps)),
        rate(static_cast<T>(step.lr / (1 - std::pow(step.beta1, static_cast<double>(step.step))))),
        scale(static_cast<T>(1 / std::sqrt(1 - std::pow(step.beta2, static_cast<double>(step.step))))),
        shrink(static_cast<T>(step.decoupled ? 1 - step.lr * step.weight_decay : 1)),
        decay(static_cast<T>(step.decoupled ? 0 : step.weight_decay)) {}
  __device__ void operator()(int64_t i) const {
    const T g = dx[i] + decay * x[i];
    mean[i] = b1 * mean[i] + c1 * g;
    square[i] = b2 * square[i] + c2 * g * g;
    x[i] = shrink * x[i] - rate * mean[i] / (std::sqrt(square[i]) * scale + eps);
  }
};

}  // namespace

void sgd_update(std::span<const Tensor> p, std::span<const Tensor> grad, std::span<const Tensor> velocity,
                std::span<const SgdStep> steps) {
  update_all<Sgd>("sgd", p, [&]<class T>(size_t k) { return Sgd<T>(p[k], grad[k], velocity[k], steps[k]); });
}

void adam_update(std::span<const Tensor> p, std::span<const Tensor> grad, std::span<const Tensor> m,
                 std::span<const Tensor> v, std::span<const AdamStep> steps) {
  update_all<Adam>("adam", p, [&]<class T>(size_t k) { return Adam<T>(p[k], grad[k], m[k], v[k], steps[k]); });
}

}  // namespace norma::cuda
