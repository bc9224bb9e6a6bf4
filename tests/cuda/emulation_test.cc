// The emulated CUDA runtime itself: that kernels compute what they should, and that each kind of misuse is reported
// with the kernel's name, the block and the thread.
#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <vector>

#include "norma/cuda/launch.h"
#include "tests/cuda_emulation/engine.h"

namespace norma {
namespace {

using cuda::Shared;
using cuda_emulation::Misuse;

// n values on the device, and back.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t n, int device = 0) : n_(n) {
    cudaSetDevice(device);
    void* block = nullptr;
    cudaMalloc(&block, n * sizeof(T));
    data_ = static_cast<T*>(block);
    cudaSetDevice(0);
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    cudaMemcpyAsync(data_, values.data(), n_ * sizeof(T), cudaMemcpyHostToDevice, nullptr);
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  operator T*() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> result(n_);
    cudaMemcpyAsync(result.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost, nullptr);
    cudaStreamSynchronize(nullptr);
    return result;
  }

 private:
  size_t n_;
  T* data_;
};

template <class... P, class... A>
void start(dim3 grid, dim3 block, size_t shared, void (*kernel)(P...), const A&... args) {
  const cudaLaunchConfig_t config = {grid, block, shared, nullptr};
  nvtxRangePushA("test");
  EXPECT_EQ(cudaLaunchKernelEx(&config, kernel, args...), cudaSuccess);
  nvtxRangePop();
}

// The report of a kernel that must fail.
template <class... P, class... A>
std::string report(dim3 grid, dim3 block, size_t shared, void (*kernel)(P...), const A&... args) {
  start(grid, block, shared, kernel, args...);
  try {
    cudaStreamSynchronize(nullptr);
  } catch (const Misuse& misuse) {
    return misuse.what();
  }
  return "no misuse was seen";
}

void expect_in(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
}

template <class F>
void run(F f) {
  f();
}

TEST(Emulation, ThreadsKnowTheirPlaces) {
  Buffer<unsigned> out(2 * 3 * 4 * 5);
  unsigned* to = out;
  const auto kernel = [=] {
    const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x, block = blockIdx.y * gridDim.x + blockIdx.x;
    to[block * blockDim.x * blockDim.y + thread] = block * 100 + thread;
  };
  start({2, 3}, {4, 5}, 0, &run<decltype(kernel)>, kernel);
  const auto values = out.values();
  for (unsigned i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], i / 20 * 100 + i % 20);
}

// The sum of each block's part by shared memory, in a tree.
void sum_blocks(const int* x, int* y) {
  __shared__ Shared<int, 64> part;
  part[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
  __syncthreads();
  for (unsigned half = 32; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) y[blockIdx.x] = part[0];
}

TEST(Emulation, BarriersAndSharedMemory) {
  std::vector<int> values(64 * 7);
  std::iota(values.begin(), values.end(), 0);
  const Buffer<int> x(values), y(7);
  for (uint64_t seed : {0, 1, 2, 3}) {
    cuda_emulation::set_seed(seed);
    start(7, 64, 0, sum_blocks, x, y);
    const auto sums = y.values();
    for (int i = 0; i < 7; ++i) EXPECT_EQ(sums[static_cast<size_t>(i)], 64 * 64 * i + 63 * 32);
  }
  cuda_emulation::set_seed(0);
}

void dynamic_reverse(int* x) {
  auto part = cuda::dynamic_shared<int>();
  part[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = part[blockDim.x - 1 - threadIdx.x];
}

TEST(Emulation, DynamicSharedMemory) {
  const Buffer<int> x(std::vector<int>{1, 2, 3, 4, 5});
  start(1, 5, 5 * sizeof(int), dynamic_reverse, x);
  EXPECT_EQ(x.values(), (std::vector<int>{5, 4, 3, 2, 1}));
  expect_in(report(1, 5, 4 * sizeof(int), dynamic_reverse, x),
            {"[test] block (0, 0, 0), thread (4, 0, 0)", "element 4 of 4"});
}

void warp_functions(int* y) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int sum = static_cast<int>(threadIdx.x);
  for (int by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(~0u, sum, by);
  double down = threadIdx.x;
  down = __shfl_down_sync(~0u, down, 1);
  const unsigned odd = __ballot_sync(~0u, lane % 2 == 1);
  const bool ok = odd == 0xAAAAAAAA && __any_sync(~0u, lane == 3) && !__all_sync(~0u, lane == 3) &&
                  __shfl_sync(~0u, lane * 2, 5) == 10 && static_cast<unsigned>(down) == threadIdx.x + (lane < 31);
  y[threadIdx.x] = ok ? sum : -1;
  if (lane < 7) y[threadIdx.x] += __shfl_sync(0x7Fu, 1000, 2);  // some lanes only
}

TEST(Emulation, WarpFunctions) {
  const Buffer<int> y(64);
  start(1, 64, 0, warp_functions, y);
  const auto values = y.values();
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(values[static_cast<size_t>(i)], i / 32 * 1024 + 496 + (i % 32 < 7 ? 1000 : 0)) << i;
}

void count_up(unsigned* total, unsigned* first) {
  atomicAdd(total, 1u);
  atomicCAS(first, ~0u, blockIdx.x);
}

TEST(Emulation, AtomicsAndTheOrderOfBlocks) {
  std::vector<unsigned> firsts;
  for (uint64_t seed : {0, 1, 2, 3, 4}) {
    cuda_emulation::set_seed(seed);
    const Buffer<unsigned> total(std::vector{0u}), first(std::vector{~0u});
    start(100, 3, 0, count_up, total, first);
    EXPECT_EQ(total.values()[0], 300u);
    firsts.push_back(first.values()[0]);
  }
  cuda_emulation::set_seed(0);
  EXPECT_EQ(firsts[0], 0u);
  EXPECT_GT(std::set<unsigned>(firsts.begin(), firsts.end()).size(), 2u);
}

TEST(Emulation, WorkWaitsForTheHostAndForEvents) {
  cudaStream_t a, b;
  cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
  cudaEvent_t event;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  const Buffer<int> x(std::vector<int>{1});
  (void)x.values();
  int host = 0;
  cudaMemsetAsync(x, 0, sizeof(int), a);
  EXPECT_EQ(cudaEventRecord(event, a), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  cudaStreamWaitEvent(b, event, 0);
  host = 7;
  cudaMemcpyAsync(&host, x, sizeof(int), cudaMemcpyDeviceToHost, b);
  EXPECT_EQ(host, 7);  // nobody has waited
  cudaStreamSynchronize(b);
  EXPECT_EQ(host, 0);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  cudaEventDestroy(event);
  cudaStreamDestroy(a);
  cudaStreamDestroy(b);
}

TEST(Emulation, WrongArgumentsOfTheHost) {
  const Buffer<int> x(4);
  int host[8] = {};
  EXPECT_EQ(cudaMemcpyAsync(x, host, 5 * sizeof(int), cudaMemcpyHostToDevice, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(host, host + 4, 4, cudaMemcpyDeviceToHost, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(x + 1, 0, 4 * sizeof(int), nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(x + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  for (const cudaLaunchConfig_t& config : {cudaLaunchConfig_t{0, 1, 0, nullptr},
                                           {1, 1025, 0, nullptr},
                                           {{1, 70000}, 1, 0, nullptr},
                                           {1, 1, 1 << 20, nullptr}})
    EXPECT_EQ(cudaLaunchKernelEx(
                  &config, +[] {}),
              cudaErrorInvalidConfiguration);
}

// --- Misuse.

void write_at(int* x, int64_t index) {
  if (threadIdx.x == 5 && blockIdx.x == 1) x[index] = 1;
}
const char* const kWhere = "[test] block (1, 0, 0), thread (5, 0, 0)";

TEST(EmulationMisuse, FarOutOfBounds) {
  const Buffer<int> x(1024);
  expect_in(report(2, 8, 0, write_at, x, 1024), {kWhere, "where no block is"});
  expect_in(report(2, 8, 0, write_at, x, -1), {kWhere, "where no block is"});
  start(2, 8, 0, write_at, x, 3);  // and all goes on
  EXPECT_EQ(x.values()[3], 1);
}

TEST(EmulationMisuse, BesideABlock) {
  const Buffer<int> x(900);
  expect_in(report(2, 8, 0, write_at, x, 900), {"[test]: wrote beside a block of 3600 bytes"});
  expect_in(report(2, 8, 0, write_at, x, -1), {"[test]: wrote beside a block of 3600 bytes"});
}

TEST(EmulationMisuse, FreedMemory) {
  int* x = Buffer<int>(8);  // gone at the end of the line
  expect_in(report(2, 8, 0, write_at, x, 0), {kWhere, "where no block is"});
}

TEST(EmulationMisuse, MemoryOfAnotherDevice) {
  const Buffer<int> x(8, 1);
  expect_in(report(2, 8, 0, write_at, x, 0), {kWhere, "memory of device 1 on device 0"});
}

TEST(EmulationMisuseDeathTest, DeviceMemoryOnTheHost) {
  const Buffer<int> x(std::vector<int>{1, 2});
  (void)x.values();
  EXPECT_DEATH((void)*reinterpret_cast<volatile int*>(static_cast<int*>(x)), "Device memory touched by the host");
}

void barrier_for_some() {
  if (threadIdx.x != 3) __syncthreads();
}
void barriers_apart() {
  if (threadIdx.x < 4) __syncthreads();
  else __syncthreads();
}

TEST(EmulationMisuse, DivergentBarriers) {
  expect_in(report(1, 8, 0, barrier_for_some),
            {"[test] block (0, 0, 0), thread (0, 0, 0): waits at the barrier", "thread (3, 0, 0) has left the kernel"});
  expect_in(report(1, 8, 0, barriers_apart),
            {"thread (0, 0, 0): waits at the barrier", "thread (4, 0, 0) at emulation_test"});
}

void shuffle_for_some(unsigned mask) {
  if (threadIdx.x < 16) __shfl_sync(mask, 1, 0);
}
void shuffle_from_outside() { __shfl_sync(0xFFu, 1, 9); }

TEST(EmulationMisuse, DivergentShuffles) {
  expect_in(report(1, 32, 0, shuffle_for_some, ~0u),
            {"waits at emulation_test", "lanes 0xffff0000 of mask 0xffffffff"});
  expect_in(report(1, 32, 0, shuffle_for_some, 0xFEu), {"thread (0, 0, 0)", "lacks its own lane 0"});
  expect_in(report(1, 16, 0, shuffle_for_some, ~0u), {"lane 16 in the mask, which the block does not have"});
  expect_in(report(1, 8, 0, shuffle_from_outside), {"reads lane 9, which is not in the mask"});
}

void read_unwritten(int* y) {
  __shared__ Shared<int, 8> part;
  if (threadIdx.x != 2) part[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = part[threadIdx.x];
}
void leave_shared() {
  __shared__ Shared<int, 8> part;
  part[threadIdx.x] = 1;
}

TEST(EmulationMisuse, UninitialisedSharedMemory) {
  const Buffer<int> y(8);
  expect_in(report(1, 8, 0, read_unwritten, y), {"thread (2, 0, 0): reads element 2 of shared memory, which nobody"});
  expect_in(report(
                2, 1, 0,
                +[] {
                  __shared__ Shared<int, 1> part;
                  if (blockIdx.x == 0) part[0] = 1;
                  else (void)int{part[0]};
                }),
            {"block (1, 0, 0)", "which nobody has written"});
}

TEST(EmulationMisuse, OutOfBoundsInSharedMemory) {
  expect_in(report(1, 9, 0, leave_shared), {"[test] block (0, 0, 0), thread (8, 0, 0): element 8 of 8"});
}

void no_barrier(int* y) {
  __shared__ Shared<int, 8> part;
  part[threadIdx.x] = 1;
  y[threadIdx.x] = threadIdx.x > 0 ? int{part[threadIdx.x - 1]} : 0;
}
void no_barrier_before_writing() {
  __shared__ Shared<int, 1> part;
  if (threadIdx.x == 0) part[0] = 1;
  __syncthreads();
  (void)int{part[0]};
  if (threadIdx.x == 7) part[0] = 2;
}
void two_writers() {
  __shared__ Shared<int, 1> part;
  part[0] = static_cast<int>(threadIdx.x);
}
void warp_barrier(int* y) {
  __shared__ Shared<int, 64> part;
  part[threadIdx.x] = 1;
  __syncwarp();
  y[threadIdx.x] = part[threadIdx.x ^ 1];
  __syncwarp();
  part[threadIdx.x ^ 2] = 2;
  if (y[0] == 0) y[threadIdx.x] = part[threadIdx.x ^ 32];
}

TEST(EmulationMisuse, MissingBarriers) {
  const Buffer<int> y(64);
  expect_in(report(1, 8, 0, no_barrier, y),
            {"thread (1, 0, 0): reads element 0", "which thread (0, 0, 0) has written"});
  expect_in(report(1, 8, 0, no_barrier_before_writing),
            {"thread (7, 0, 0): writes element 0", "another thread has read"});
  expect_in(report(1, 8, 0, two_writers), {"thread (1, 0, 0): writes element 0", "thread (0, 0, 0) has written"});
  start(1, 64, 0, warp_barrier, y);
  EXPECT_NO_THROW(cudaStreamSynchronize(nullptr));
}

}  // namespace
}  // namespace norma
