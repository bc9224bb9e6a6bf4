// How a kernel is declared and called. A kernel's signature is written once, in its op's header:
//
//   NORMA_KERNEL(where, const Tensor& condition, const Tensor& a, const Tensor& b, const Tensor& y)
//
// declares cpu::where, which ops/elementwise/where.cc defines, and cuda::where, which cuda/elementwise/where.cu
// defines. kernel::where(condition, a, b, y) calls the one for the device of the first argument that is a defined
// tensor, or a span of tensors, or of what has a tensor p: of its first. There is no registry. Where the CUDA backend
// is not built, a call for it throws.
//
// A kernel that is compiled for several instruction sets is declared with NORMA_SIMD_KERNEL. There is then a
// cpu::base::softmax and the same for each other level that is built; ops/reduce/softmax_cpu.cc defines them between
// NORMA_SIMD_BEGIN and NORMA_SIMD_END (core/simd/vectors.h), and kernel::softmax calls that of cpu::simd_level().
#pragma once

#include "norma/core/backend.h"
#include "norma/core/simd/dispatch.h"
#include "norma/core/tensor.h"

namespace norma {

template <class Signature>
struct Kernel;

template <class... Args>
struct Kernel<void(Args...)> {
  using Function = void (*)(Args...);
  const char* name;
  Function cpu[3];  // by level; null where the level is not built
  Function cuda;    // null where CUDA is not built

  void operator()(Args... args) const {
    const Tensor* first = nullptr;
    const auto look = [&](const auto& arg) {
      using Arg = std::remove_cvref_t<decltype(arg)>;
      const Tensor* tensor = nullptr;
      if constexpr (std::is_same_v<Arg, Tensor>) tensor = &arg;
      if constexpr (std::is_same_v<Arg, std::span<const Tensor>>) tensor = arg.empty() ? nullptr : &arg[0];
      if constexpr (requires { arg[0].p; }) tensor = arg.empty() ? nullptr : &arg[0].p;
      if (!first && tensor && tensor->defined()) first = tensor;
    };
    (look(args), ...);
    const Device device = first ? first->device() : cpu_device;
    if (device.is_cpu()) return cpu[static_cast<size_t>(cpu::simd_level())](args...);
    if (!cuda) fail_without_cuda(name);
    backend(device);  // the thread's device from here on
    cuda(args...);
  }
};

}  // namespace norma

#ifdef NORMA_WITH_CUDA
#define NORMA_CUDA_FUNCTION(name) &norma::cuda::name
#else
#define NORMA_CUDA_FUNCTION(name) nullptr
#endif

// LEVELS declares the CPU's functions, EACH lists them.
#define NORMA_ANY_KERNEL(LEVELS, EACH, name, ...)                                                     \
  namespace cpu {                                                                                     \
  LEVELS(void name(__VA_ARGS__);)                                                                     \
  }                                                                                                   \
  namespace cuda {                                                                                    \
  void name(__VA_ARGS__);                                                                             \
  }                                                                                                   \
  namespace kernel {                                                                                  \
  inline constexpr Kernel<void(__VA_ARGS__)> name = {#name, {EACH(name)}, NORMA_CUDA_FUNCTION(name)}; \
  }
#define NORMA_SAME(...) __VA_ARGS__
#define NORMA_ONE(name) &norma::cpu::name, &norma::cpu::name, &norma::cpu::name  // for all levels
#define NORMA_KERNEL(...) NORMA_ANY_KERNEL(NORMA_SAME, NORMA_ONE, __VA_ARGS__)
#define NORMA_SIMD_KERNEL(...) NORMA_ANY_KERNEL(NORMA_SIMD_LEVELS, NORMA_SIMD_EACH, __VA_ARGS__)
