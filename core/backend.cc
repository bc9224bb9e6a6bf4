// The CPU's backend, and the choice between devices.
#include "norma/core/backend.h"

#include "norma/core/simd/for_each.h"

namespace norma {
namespace {

using cpu::base::map;

class CpuBackend final : public Backend {
 public:
  MemoryPool& memory() override { return cpu_memory(); }

  void copy(const Tensor& from, const Tensor& to) override {
    dispatch(to.dtype(), [&]<class T>() {
      dispatch(from.dtype(), [&]<class S>() { map<T, S>([](T& y, S x) { y = convert<T>(x); }, to, from); });
    });
  }

  Tensor from_host(const Tensor& host) override { return host; }
  Tensor to_host(const Tensor& x) override { return x; }
  std::function<Tensor()> upload(const Tensor& host) override {
    return [host] { return host; };
  }
  void fill(const Tensor& to, double value) override {
    dispatch(to.dtype(), [&]<class T>() { map<T>([filling = convert<T>(value)](T& y) { y = filling; }, to); });
  }

  void add_into(const Tensor& to, const Tensor& from) override {
    dispatch_floating("add_into", to.dtype(), [&]<class T>() { map<T, T>([](T& y, T x) { y += x; }, to, from); });
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
