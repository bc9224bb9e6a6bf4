// core/backend.h on CUDA devices.
#include <array>
#include <mutex>

#include "norma/core/backend.h"
#include "norma/cuda/launch.h"

namespace norma::cuda {
namespace {

template <class T, class S>
void convert_elements(const StridedLoop<2>& loop, const S* from, T* to) {
  for_each("copy", loop, [=] __device__(const Offsets<2>& at) { to[at[0]] = convert<T>(from[at[1]]); });
}

template <class T>
void fill_elements(const StridedLoop<1>& loop, T* to, T value) {
  for_each("fill", loop, [=] __device__(const Offsets<1>& at) { to[at[0]] = value; });
}

template <class T>
void add_elements(const StridedLoop<2>& loop, const T* from, T* to) {
  for_each("add_into", loop, [=] __device__(const Offsets<2>& at) { to[at[0]] += from[at[1]]; });
}

template <class T>
void fill_blocks(int64_t n, const RandomFill& fill, T* to) {
  for_each("fill_random", (n + 3) / 4, [=] __device__(int64_t block) {
    const std::array<double, 4> values = fill.block(block);
    for (int64_t k = 0; k < 4 && 4 * block + k < n; ++k) to[4 * block + k] = static_cast<T>(values[k]);
  });
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(int device) : context_(cuda::select(device)) {}

  MemoryPool& memory() override { return context_.memory; }
  void select() override { cuda::select(context_.device); }

  void copy(const Tensor& from, const Tensor& to) override {
    select();
    const StridedLoop<2> loop(to.shape(), {to.strides(), from.strides()});
    dispatch(to.dtype(), [&]<class T>() {
      if (from.dtype() == to.dtype() && from.is_contiguous() && to.is_contiguous()) {
        const size_t bytes = static_cast<size_t>(to.numel()) * sizeof(T);
        check_cuda("copy", cudaMemcpyAsync(to.mutable_cuda_data<T>(), from.cuda_data<T>(), bytes,
                                           cudaMemcpyDeviceToDevice, context_.stream));
      } else {
        dispatch(from.dtype(),
                 [&]<class S>() { convert_elements(loop, from.cuda_data<S>(), to.mutable_cuda_data<T>()); });
      }
    });
  }

  void copy_from_host(const void* host, void* block, size_t bytes) override {
    select();
    check_cuda("copy", cudaMemcpyAsync(block, host, bytes, cudaMemcpyHostToDevice, context_.stream));
  }
  void copy_to_host(const void* block, void* host, size_t bytes) override {
    select();
    check_cuda("copy", cudaMemcpyAsync(host, block, bytes, cudaMemcpyDeviceToHost, context_.stream));
    synchronize("copy", context_);
  }

  void fill(const Tensor& to, double value) override {
    select();
    dispatch(to.dtype(), [&]<class T>() {
      fill_elements(StridedLoop<1>(to.shape(), {to.strides()}), to.mutable_cuda_data<T>(), convert<T>(value));
    });
  }

  void add_into(const Tensor& to, const Tensor& from) override {
    select();
    const StridedLoop<2> loop(to.shape(), {to.strides(), from.strides()});
    dispatch_floating("add_into", to.dtype(),
                      [&]<class T>() { add_elements(loop, from.cuda_data<T>(), to.mutable_cuda_data<T>()); });
  }

  void fill_random(const Tensor& to, const RandomFill& fill) override {
    select();
    dispatch_floating("fill_random", to.dtype(),
                      [&]<class T>() { fill_blocks(to.numel(), fill, to.mutable_cuda_data<T>()); });
  }

 private:
  Context& context_;
};

}  // namespace

Backend& backend(int device) {
  static std::array<Backend*, 64> backends{};  // never destroyed, as their contexts
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  cuda::select(device);  // throws where there is none
  Backend*& made = backends[static_cast<size_t>(device)];
  if (!made) made = new CudaBackend(device);
  return *made;
}

}  // namespace norma::cuda
