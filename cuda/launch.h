// How kernels are launched, and what they are made of: one function a thread, elements of strided tensors, reductions
// of a block. The same source is compiled by nvcc and, in the tests, as plain C++ against an emulated CUDA runtime
// (tests/cuda_emulation/README.md).
//
// A kernel is mostly a lambda, `[=] __device__(int64_t i) {...}`; nvcc wants it in a function that is not a generic
// lambda, hence a template beside each kernel, called from inside of dispatch().
#pragma once

#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <bit>

#include "norma/core/strided.h"
#include "norma/cuda/runtime.h"

namespace norma::cuda {

// Shared memory of a block, `__shared__ Shared<double, 256> part;`, and that which the launch asks for. The emulation's
// see misuse.
#ifdef NORMA_CUDA_EMULATION
using cuda_emulation::dynamic_shared, cuda_emulation::Shared;
#else
template <class T, int n>
struct Shared {
  T values[n];
  __device__ T& operator[](int i) { return values[i]; }
};
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
}
#endif

inline constexpr int kThreads = 256;  // of a block; the most, where it is cut to the work

// Starts a kernel on the thread's device. Profilers show it under the name of its op, and so do errors.
template <class... Parameters, class... Args>
void launch(const char* op, dim3 blocks, dim3 threads, void (*kernel)(Parameters...), Args&&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.stream = context().stream;
  nvtxRangePushA(op);
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...);
  nvtxRangePop();
  check_cuda(op, status);
}

template <class F>
__global__ void for_each_kernel(int64_t n, F f) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}

// f(i) for i in [0, n), a thread each.
template <class F>
void for_each(const char* op, int64_t n, F f) {
  if (n == 0) return;
  const int64_t blocks = std::min<int64_t>((n + kThreads - 1) / kThreads, context().multiprocessors * 64);
  launch(op, static_cast<unsigned>(blocks), kThreads, for_each_kernel<F>, n, f);
}

template <size_t K>
struct Offsets {
  int64_t at[K];
  __device__ int64_t operator[](size_t k) const { return at[k]; }
};

// The axes of K strided arrays of one shape, those merged that can be.
template <size_t K>
struct Axes {
  int rank;
  bool small;  // 32-bit divisions do, at a fifth of the cost
  int64_t extent[Shape::kMaxRank], stride[Shape::kMaxRank][K];

  explicit Axes(const StridedLoop<K>& loop) : rank(loop.shape().rank()), small(loop.shape().numel() <= UINT32_MAX) {
    for (int axis = 0; axis < rank; ++axis) {
      extent[axis] = loop.shape()[axis];
      for (size_t k = 0; k < K; ++k) stride[axis][k] = loop.strides(k)[axis];
    }
  }
  __device__ Offsets<K> offsets(int64_t i) const {
    Offsets<K> result{};
    for (int axis = rank - 1; axis >= 0; --axis) {
      const int64_t rest = axis == 0 ? 0
                           : small   ? static_cast<uint32_t>(i) / static_cast<uint32_t>(extent[axis])
                                     : i / extent[axis];
      for (size_t k = 0; k < K; ++k) result.at[k] += (i - rest * extent[axis]) * stride[axis][k];
      i = rest;
    }
    return result;
  }
};

// f(offsets) for the elements of K strided arrays: the offset of each array's element.
template <size_t K, class F>
void for_each(const char* op, const StridedLoop<K>& loop, F f) {
  const Axes<K> axes(loop);
  for_each(op, loop.shape().numel(), [=] __device__(int64_t i) { f(axes.offsets(i)); });
}

// store(k, make(k)) for k = begin, begin + step, ... below end, n made before the first of them is stored: so a thread
// has the loads of n elements under way, where it otherwise would wait for those of one, since for all that a compiler
// knows a store changes what is loaded next. make(k) reads no element that store writes for another k.
template <int n = 4, class Make, class Store>
__device__ void map_range(int64_t begin, int64_t end, int64_t step, const Make& make, const Store& store) {
  int64_t k = begin;
  for (; k + (n - 1) * step < end; k += n * step) {
    decltype(make(k)) made[n];
    for (int j = 0; j < n; ++j) made[j] = make(k + j * step);
    for (int j = 0; j < n; ++j) store(k + j * step, made[j]);
  }
  for (; k < end; k += step) store(k, make(k));
}

template <class Make, class Store>
__global__ void map_kernel(int64_t n, Make make, Store store) {
  map_range(int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n, int64_t{gridDim.x} * blockDim.x, make, store);
}

// map(), below, of arrays of one axis.
template <size_t K, class T, class F>
void map_axis(const char* op, const StridedLoop<K>& loop, T* y, F f) {
  const int64_t n = loop.shape().numel(), most = context().multiprocessors * 8;
  Offsets<K> stride{};
  for (size_t k = 0; k < K; ++k) stride.at[k] = loop.strides(k)[0];
  const auto make = [=] __device__(int64_t i) {
    Offsets<K> at;
    for (size_t k = 0; k < K; ++k) at.at[k] = i * stride[k];
    return static_cast<T>(f(at));
  };
  const auto store = [=] __device__(int64_t i, T value) { y[i * stride[K - 1]] = value; };
  const int64_t blocks = std::min((n + kThreads - 1) / kThreads, most);
  if (n > 0)
    launch(op, static_cast<unsigned>(blocks), kThreads, map_kernel<decltype(make), decltype(store)>, n, make, store);
}

// y[offsets[K - 1]] = f(offsets) for the elements of K strided arrays, of which the last is y. f may read y's element.
template <size_t K, class T, class F>
void map(const char* op, const StridedLoop<K>& loop, T* y, F f) {
  if constexpr (sizeof(T) < sizeof(double))  // in double there is more to compute than to load
    if (loop.shape().rank() == 1) return map_axis(op, loop, y, f);
  for_each(op, loop, [=] __device__(const Offsets<K>& at) { y[at[K - 1]] = f(at); });
}

struct Plus {
  template <class V>
  __device__ V operator()(const V& a, const V& b) const {
    return a + b;
  }
};
struct Larger {  // a NaN wins
  template <class V>
  __device__ V operator()(V a, V b) const {
    return b > a || b != b ? b : a;
  }
};
struct Smaller {
  template <class V>
  __device__ V operator()(V a, V b) const {
    return b < a || b != b ? b : a;
  }
};

// Combines the values of a block, lane by lane of `width` columns: thread t gets what those of column t % width make
// together, in a tree. Threads and columns are powers of two.
template <class V, class Combine>
__device__ V reduce_block(V value, int width, Combine combine) {
  __shared__ Shared<V, kThreads> part;
  const int t = static_cast<int>(threadIdx.x);
  part[t] = value;
  for (int half = static_cast<int>(blockDim.x) / 2; half >= width; half /= 2) {
    __syncthreads();
    if (t < half) part[t] = combine(V(part[t]), V(part[t + half]));
  }
  __syncthreads();
  const V result = part[t % width];
  __syncthreads();  // the memory may be used again
  return result;
}

// Threads for each of `width` columns of a block, where a column has so many items.
inline int lanes_for(int64_t items, int width) {
  return static_cast<int>(std::bit_ceil(static_cast<uint64_t>(std::clamp<int64_t>(items, 1, kThreads / width))));
}
// Columns of a block, where there are so many in all.
inline int width_for(int64_t columns) {
  return static_cast<int>(std::bit_ceil(static_cast<uint64_t>(std::clamp<int64_t>(columns, 1, 32))));
}

// The index-th of `count` threads of a warp that work on one row; mask: all threads of the warp that have a row.
struct Lane {
  int index, count;
  unsigned mask;
};

// The values of a row's lanes combined, for each of them.
template <class V, class Combine>
__device__ V reduce_row(V value, const Lane& lane, Combine combine) {
  for (int by = lane.count / 2; by > 0; by /= 2) value = combine(value, __shfl_xor_sync(lane.mask, value, by));
  return value;
}

template <class F>
__global__ void for_each_row_kernel(int64_t rows, int lanes, F f) {
  const int thread = static_cast<int>(threadIdx.x) % warpSize, row_of_warp = thread / lanes;
  const int64_t warp = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / warpSize, first = warp * (warpSize / lanes);
  if (first + row_of_warp >= rows) return;
  const int64_t threads = (rows - first) * lanes;
  f(first + row_of_warp, Lane{thread % lanes, lanes, threads >= warpSize ? ~0u : (1u << threads) - 1});
}

// f(row, lane) for each row: its lanes, as many as a row has items but at most a warp, may reduce_row.
template <class F>
void for_each_row(const char* op, int64_t rows, int64_t items, F f) {
  const int lanes = std::min(lanes_for(items, 1), 32);
  const int64_t together = kThreads / lanes;
  if (rows > 0)
    launch(op, static_cast<unsigned>((rows + together - 1) / together), kThreads, for_each_row_kernel<F>, rows, lanes,
           f);
}

// Leaves an error for the host to throw; the first that is found. `op` and `what` are the host's.
__device__ inline void report(DataError* error, const char* op, const char* what, int64_t value, int64_t at,
                              int64_t bound, int64_t low = 0) {
  if (atomicCAS(&error->found, 0, 1) != 0) return;
  error->op = op;
  error->what = what;
  error->value = value;
  error->at = at;
  error->bound = bound;
  error->low = low;
}

}  // namespace norma::cuda
