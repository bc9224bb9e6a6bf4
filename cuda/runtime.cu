#include <array>
#include <memory>
#include <mutex>
#include <utility>

#include "norma/core/error.h"
#include "norma/cuda/runtime.h"

namespace norma::cuda {
namespace {

constexpr int kMaxDevices = 64;
thread_local Context* current = nullptr;

void* allocate_block(size_t bytes, int device) {
  select(device);
  void* block = nullptr;
  if (cudaMalloc(&block, bytes) == cudaSuccess) return block;
  cudaGetLastError();  // an attempt is no error: the pool gives back what it keeps and tries again
  return nullptr;
}
void free_block(void* block, int device) {
  select(device);
  cudaFree(block);  // waits for the device
}
void fill_block(void* block, int byte, size_t bytes, int device) {
  check_cuda("memory", cudaMemsetAsync(block, byte, bytes, select(device).stream));
}

}  // namespace

void check_cuda(const char* op, cudaError_t status) {
  if (status == cudaSuccess) [[likely]]
    return;
  cudaGetLastError();
  fail(op, "CUDA reports {}: {}", cudaGetErrorName(status), cudaGetErrorString(status));
}

Context::Context(int index) : device(index), memory({allocate_block, free_block, fill_block, true}, index) {
  check_cuda("device", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  check_cuda("device", cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, index));
  void* pinned = nullptr;
  check_cuda("device", cudaHostAlloc(&pinned, sizeof(DataError), cudaHostAllocMapped));
  error = new (pinned) DataError{};
}

int device_count() {
  static const int count = [] {
    int n = 0;
    if (cudaGetDeviceCount(&n) == cudaSuccess) return n < kMaxDevices ? n : kMaxDevices;
    cudaGetLastError();
    return 0;
  }();
  return count;
}

Context& select(int device) {
  static std::array<Context*, kMaxDevices> contexts{};  // never destroyed: tensors with static lifetime may outlive all
  static std::mutex mutex;
  if (current && current->device == device) return *current;
  check(device >= 0 && device < device_count(), "device",
        "there is no device cuda:{}: this machine has {} (nvidia-smi)", device, device_count());
  check_cuda("device", cudaSetDevice(device));
  const std::lock_guard lock(mutex);
  Context*& made = contexts[device];
  if (!made) made = new Context(device);
  return *(current = made);
}

Context& context() { return current ? *current : select(0); }

void synchronize(const char* op, Context& at) {
  check_cuda(op, cudaStreamSynchronize(at.stream));
  if (at.error->found == 0) [[likely]]
    return;
  const DataError error = std::exchange(*at.error, {});
  running_module = "";  // the kernel may be of another module than the one that waits
  check(error.bound >= 0, error.op, "{}", error.what);
  fail(error.op, "{} {} at {} is outside of [{}, {})", error.what, error.value, error.at, error.low, error.bound);
}

}  // namespace norma::cuda
