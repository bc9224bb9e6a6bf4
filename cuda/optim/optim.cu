#include "norma/cuda/launch.h"
#include "norma/ops/optim/optim_functions.h"

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

// make<T>(step)(i) for the elements i of the parameters of all steps: as many as there is room for in one kernel, by
// dtype.
template <template <class> class Update, class Make>
void update_all(const char* op, std::span<const ParameterStep> steps, Make make) {
  const auto of_type = [&]<class T>() {
    Updates<Update<T>> some;
    unsigned count = 0;
    int64_t most = 0;
    const auto start = [&] {
      const int64_t blocks = std::min<int64_t>((most + kThreads - 1) / kThreads, context().multiprocessors * 8);
      if (blocks > 0) launch(op, {static_cast<unsigned>(blocks), count}, kThreads, update_kernel<Update<T>>, some);
      count = 0, most = 0;
    };
    for (const ParameterStep& step : steps) {
      if (step.p.dtype() != dtype_of<T>()) continue;
      if (count == some.kMost) start();
      some.update[count++] = make.template operator()<T>(step);
      most = std::max(most, step.p.numel());
    }
    start();
  };
  of_type.template operator()<float>();
  of_type.template operator()<double>();
}

template <class T>
struct Sgd {
  int64_t n;
  T* p;
  const T* grad;
  T* velocity;  // null: no momentum
  optim_functions::Sgd<T> update;
  __device__ void operator()(int64_t i) const {
    if (velocity) update(p[i], grad[i], velocity[i]);
    else update(p[i], grad[i]);
  }
};

template <class T>
struct Adam {
  int64_t n;
  T* p;
  const T* grad;
  T *m, *v;
  optim_functions::Adam<T> update;
  __device__ void operator()(int64_t i) const { update(p[i], grad[i], m[i], v[i]); }
};

}  // namespace

void sgd_update(std::span<const ParameterStep> steps, const SgdRule& rule) {
  update_all<Sgd>("sgd", steps, [&]<class T>(const ParameterStep& step) {
    const Tensor& v = step.averages[0];
    return Sgd<T>{step.p.numel(), step.p.mutable_cuda_data<T>(), step.grad.cuda_data<T>(),
                  v.defined() ? v.mutable_cuda_data<T>() : nullptr, optim_functions::Sgd<T>(step, rule)};
  });
}

void adam_update(std::span<const ParameterStep> steps, const AdamRule& rule) {
  update_all<Adam>("adam", steps, [&]<class T>(const ParameterStep& step) {
    return Adam<T>{step.p.numel(),
                   step.p.mutable_cuda_data<T>(),
                   step.grad.cuda_data<T>(),
                   step.averages[0].mutable_cuda_data<T>(),
                   step.averages[1].mutable_cuda_data<T>(),
                   optim_functions::Adam<T>(step, rule)};
  });
}

}  // namespace norma::cuda
