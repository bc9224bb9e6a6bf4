// Solution of exercise 11_reduce.
#pragma once

#include "norma/cuda/launch.h"

using norma::cuda::Shared, norma::cuda::launch;

struct Largest {
  double value;
  int at;
};

__device__ inline Largest larger(const Largest& a, const Largest& b) {
  return b.value > a.value || (b.value == a.value && b.at < a.at) ? b : a;
}

// Of the values of all threads of a block, a power of two of them and at most 256, for each of the threads; of equal
// values the one of the lowest thread. It may be called several times in a kernel.
__device__ inline Largest largest_of_block(double value) {
  __shared__ Shared<Largest, 256> part;
  const int t = static_cast<int>(threadIdx.x);
  part[t] = Largest{value, t};
  for (int half = static_cast<int>(blockDim.x) / 2; half > 0; half /= 2) {
    __syncthreads();  // what the others wrote is there
    if (t < half) part[t] = larger(part[t], part[t + half]);
  }
  __syncthreads();
  const Largest result = part[0];
  __syncthreads();  // all have read it: the memory may be used again
  return result;
}
