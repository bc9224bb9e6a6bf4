// The part of the CUDA runtime that norma uses, for a compiler and a machine without CUDA (see README.md): what a
// kernel's source says, and the functions that the host calls. Kernels run in engine.cc, memory is in memory.cc.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>

#define NORMA_CUDA_EMULATION 1
#define __host__
#define __device__
#define __global__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

// --- The host's side.

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevice = 101,
  cudaErrorNotReady = 600,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16 };
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0,
                          cudaHostAllocMapped = 2;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

namespace cuda_emulation {
struct Stream;
struct Event;
}  // namespace cuda_emulation
using cudaStream_t = cuda_emulation::Stream*;
using cudaEvent_t = cuda_emulation::Event*;

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

cudaError_t cudaGetLastError();
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDeviceCount(int* count);  // two
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMalloc(void** block, size_t bytes);
cudaError_t cudaFree(void* block);
cudaError_t cudaHostAlloc(void** block, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* block);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);

namespace cuda_emulation {

// What a stream does, some time between the call that asks for it and the synchronisation that waits for it.
void enqueue(cudaStream_t stream, std::function<void()> work);
cudaError_t enqueue_kernel(const cudaLaunchConfig_t& config, std::function<void()> body);

}  // namespace cuda_emulation

template <class... Parameters, class... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Args&&... args) {
  return cuda_emulation::enqueue_kernel(
      *config, [kernel, ... copies = Parameters(std::forward<Args>(args))] { kernel(copies...); });
}

// --- The kernel's side.

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace cuda_emulation {

using Site = std::source_location;

// Waits until every lane of `mask` is at this very call; the value that lane `from` brought.
uint64_t exchange(unsigned mask, uint64_t value, int from, const Site& site);
unsigned vote(unsigned mask, bool value, const Site& site);
void sync_block(const Site& site);
void sync_warp(unsigned mask, const Site& site);
int lane();

template <class T>
T shuffle(unsigned mask, T value, int from, const Site& site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  bits = exchange(mask, bits, from, site);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace cuda_emulation

inline void __syncthreads(cuda_emulation::Site site = cuda_emulation::Site::current()) {
  cuda_emulation::sync_block(site);
}
inline void __syncwarp(unsigned mask = ~0u, cuda_emulation::Site site = cuda_emulation::Site::current()) {
  cuda_emulation::sync_warp(mask, site);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int from, cuda_emulation::Site site = cuda_emulation::Site::current()) {
  return cuda_emulation::shuffle(mask, value, from & 31, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, cuda_emulation::Site site = cuda_emulation::Site::current()) {
  const int lane = cuda_emulation::lane(), from = lane + static_cast<int>(by);
  return cuda_emulation::shuffle(mask, value, from < warpSize ? from : lane, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int by, cuda_emulation::Site site = cuda_emulation::Site::current()) {
  return cuda_emulation::shuffle(mask, value, cuda_emulation::lane() ^ by, site);
}
inline unsigned __ballot_sync(unsigned mask, bool value, cuda_emulation::Site site = cuda_emulation::Site::current()) {
  return cuda_emulation::vote(mask, value, site);
}
inline bool __any_sync(unsigned mask, bool value, cuda_emulation::Site site = cuda_emulation::Site::current()) {
  return cuda_emulation::vote(mask, value, site) != 0;
}
inline bool __all_sync(unsigned mask, bool value, cuda_emulation::Site site = cuda_emulation::Site::current()) {
  return cuda_emulation::vote(mask, value, site) == mask;
}

// One host thread runs all threads of a kernel, so that plain arithmetic is atomic.
template <class T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, static_cast<T>(*at + value));
}
template <class T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, value < *at ? value : *at);
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, *at < value ? value : *at);
}
template <class T>
T atomicExch(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, value);
}
template <class T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return std::exchange(*at, *at == expected ? value : *at);
}
inline void __threadfence() {}
inline void __threadfence_system() {}

#include <shared_memory.h>
