// Exercise of lesson 11: the largest value of a block, and which thread has it. Fill the gap.
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
  // GAP: this is the right tree. But a thread reads what another one may not have written yet, or may already be
  // writing again for the next call.
  for (int half = static_cast<int>(blockDim.x) / 2; half > 0; half /= 2) {
    if (t < half) part[t] = larger(part[t], part[t + half]);
  }
  return part[0];
}
