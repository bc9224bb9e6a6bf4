// How a kernel is declared and called. A kernel's signature is written once, in its op's header:
//
//   NORMA_KERNEL(softmax, const Tensor& x, const Tensor& y)
//
// declares cpu::softmax (defined in ops/softmax.cc) and cuda::softmax (defined in cuda/softmax.cu), and
// kernel::softmax(x, y) calls the one for the device of its first defined tensor. There is no registry; where the CUDA
// backend is not built, a call for it throws.
#pragma once

#include "norma/core/tensor.h"

namespace norma {

template <class... Args>
struct Kernel {
  using Function = void (*)(Args...);
  const char* name;
  Function cpu;
  Function cuda;  // null where CUDA is not built

  void operator()(Args... args) const {
    Device device;
    bool found = false;
    const auto look = [&](const auto& arg) {
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(arg)>, Tensor>) {
        if (!found && arg.defined()) {
          device = arg.device();
          found = true;
        }
      }
    };
    (look(args), ...);
    if (device.is_cpu()) return cpu(args...);
    if (!cuda) fail_without_cuda(name);
    cuda(args...);
  }
};

template <class... Args>
constexpr Kernel<Args...> make_kernel(const char* name, void (*cpu)(Args...), void (*cuda)(Args...)) {
  return {name, cpu, cuda};
}
template <class... Args>
constexpr Kernel<Args...> make_kernel(const char* name, void (*cpu)(Args...), std::nullptr_t) {
  return {name, cpu, nullptr};
}

}  // namespace norma

#ifdef NORMA_WITH_CUDA
#define NORMA_KERNEL(name, ...)                                                           \
  namespace cpu {                                                                         \
  void name(__VA_ARGS__);                                                                 \
  }                                                                                       \
  namespace cuda {                                                                        \
  void name(__VA_ARGS__);                                                                 \
  }                                                                                       \
  namespace kernel {                                                                      \
  inline constexpr auto name = make_kernel(#name, &norma::cpu::name, &norma::cuda::name); \
  }
#else
#define NORMA_KERNEL(name, ...)                                                \
  namespace cpu {                                                              \
  void name(__VA_ARGS__);                                                      \
  }                                                                            \
  namespace kernel {                                                           \
  inline constexpr auto name = make_kernel(#name, &norma::cpu::name, nullptr); \
  }
#endif
