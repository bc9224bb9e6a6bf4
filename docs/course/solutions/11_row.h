// Solution of exercise 11_row.
#pragma once

#include "11_kernels.h"

// y[r, c] = (x[r, c] - mean of row r) / sqrt(variance of row r + eps). Launched with 128 threads a block, and as many
// blocks as give every row a warp: warp w of the grid (blocks one after the other, four warps each) has row w, if there
// is one. Lanes are to read and write neighbours; what the lanes of a warp have summed they reduce by shuffles.
__global__ void normalize_rows(Norm norm) {
  const int64_t warp = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32;
  const unsigned lane = threadIdx.x % 32;
  if (warp >= norm.rows) return;  // the whole warp leaves
  Global<const float> x(norm.x);
  Global<float> y(norm.y);
  const int64_t begin = warp * norm.channels, end = begin + norm.channels;
  const double shift = x.get(begin);
  double sum = 0, square = 0;
  for (int64_t i = begin + lane; i < end; i += 32) {
    const double d = x.get(i) - shift;
    sum += d;
    square += d * d;
  }
  for (int by = 16; by > 0; by /= 2) {  // by xor, so that every lane gets the sums
    sum += __shfl_xor_sync(~0u, sum, by);
    square += __shfl_xor_sync(~0u, square, by);
  }
  const double n = static_cast<double>(norm.channels), mean = sum / n,
               rstd = 1 / sqrt(square / n - mean * mean + norm.eps);
  for (int64_t i = begin + lane; i < end; i += 32) y.set(i, static_cast<float>((x.get(i) - shift - mean) * rstd));
}
