// The CPU's backend, and the choice between devices.
#include "norma/core/backend.h"

#include "norma/core/simd/for_each.h"

namespace norma {
namespace {

using cpu::base::for_each;

class CpuBackend final : public Backend {
 public:
  MemoryPool& memory() override { return cpu_memory(); }

  void copy(const Tensor& from, const Tensor& to) override {
    dispatch(to.dtype(), [&]<class T>() {
      T* target = to.mutable_strided_data<T>();
      dispatch(from.dtype(), [&]<class S>() {
        const S* source = from.strided_data<S>();
        for_each(elements_of(from, to), [=](const auto& at) { target[at[1]] = convert<T>(source[at[0]]); });
      });
    });
  }

  Tensor from_host(const Tensor& host) override { return host; }
  Tensor to_host(const Tensor& x) override { return x; }
  std::function<Tensor()> upload(const Tensor& host) override {
    return [host] { return host; };
  }
  void fill(const Tensor& to, double value) override {
    dispatch(to.dtype(), [&]<class T>() {
      T* target = to.mutable_strided_data<T>();
      const T filling = convert<T>(value);
      for_each(elements_of(to), [=](const auto& at) { target[at[0]] = filling; });
    });
  }

  void add_into(const Tensor& to, const Tensor& from) override {
    dispatch_floating("add_into", to.dtype(), [&]<class T>() {
      T* target = to.mutable_strided_data<T>();
      const T* source = from.strided_data<T>();
      for_each(elements_of(from, to), [=](const auto& at) { target[at[1]] += source[at[0]]; });
    });
  }

  void fill_random(const char* op, const Tensor& to, const RandomFill& fill) override {
    dispatch_floating(op, to.dtype(), [&]<class T>() {
      T* data = to.mutable_data<T>();
      const int64_t n = to.numel();
      parallel_each((n + 3) / 4, 1024, [&](int64_t block) {
        const std::array<double, 4> values = fill.block(block);
        for (int64_t k = 0; k < 4 && 4 * block + k < n; ++k) data[4 * block + k] = static_cast<T>(values[k]);
      });
    });
  }
};

}  // namespace

Backend& backend(Device device) {
  static CpuBackend* const cpu = new CpuBackend;  // never destroyed: tensors with static lifetime may outlive any order
  return device.is_cuda() ? cuda::backend(device.index) : *cpu;
}

#ifndef NORMA_WITH_CUDA
Backend& cuda::backend(int) { fail_without_cuda("device"); }
int cuda::device_count() { return 0; }
#endif

}  // namespace norma
