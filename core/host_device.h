// NORMA_HOST_DEVICE: before a function that CPU and CUDA kernels share.
#pragma once

#ifdef __CUDACC__
#define NORMA_HOST_DEVICE __host__ __device__
#else
#define NORMA_HOST_DEVICE [[gnu::always_inline]]  // or a loop over it would not vectorise
#endif
