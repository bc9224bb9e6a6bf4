// What the CUDA kernels need of a device: one stream, a pool of its memory, the errors that its kernels find.
//
// All work of a device is done in order, on one stream that all threads share. So a block of memory that was freed can
// be given to whoever asks next, without waiting for the work that still uses it, and kernels need no events.
#pragma once

#include <cuda_runtime.h>

#include "norma/core/memory.h"

namespace norma::cuda {

// Throws, in the name of `op`, what CUDA reports.
void check_cuda(const char* op, cudaError_t status);

// What a kernel finds wrong with its data: thrown where the host next waits for the device. Lies in pinned host memory.
struct DataError {
  int found;  // 0: none
  const char *op, *what;
  int64_t value, at, bound, low;  // the value at index `at` is outside of [low, bound); bound -1: `what` says it all
};

struct Context {
  explicit Context(int device);

  const int device;
  cudaStream_t stream;
  int multiprocessors;
  DataError* error;
  MemoryPool memory;
};

int device_count();           // 0 where there is no device or no driver
Context& select(int device);  // makes it the calling thread's; throws where there is no such device
Context& context();           // that of the calling thread's device
void synchronize(const char* op, Context& context);  // waits, then throws the error that was found, if any

}  // namespace norma::cuda
