// Which build of the vectorised kernels runs. With -DNORMA_NATIVE=ON there is one, `base`, for this machine's CPU. Else
// `base` is for any CPU of the architecture and, on x86-64, the same files are compiled for AVX2 and for AVX-512, too.
#pragma once

#include <cstdint>

namespace norma::cpu {

enum class SimdLevel : uint8_t { base, avx2, avx512 };

// The highest that was built and that this CPU can run, or what $NORMA_SIMD names: base, avx2 or avx512. An error where
// that is none of these, or cannot be.
SimdLevel simd_level();

// Declares the same for each level that was built: NORMA_SIMD_LEVELS(extern const Kernel product;). And the one to run.
#ifdef NORMA_SIMD_DISPATCH
#define NORMA_SIMD_LEVELS(...) \
  namespace base {             \
  __VA_ARGS__                  \
  }                            \
  namespace avx2 {             \
  __VA_ARGS__                  \
  }                            \
  namespace avx512 {           \
  __VA_ARGS__                  \
  }
#define NORMA_SIMD_BEST(name) \
  (simd_level() == SimdLevel::avx512 ? avx512::name : simd_level() == SimdLevel::avx2 ? avx2::name : base::name)
#else
#define NORMA_SIMD_LEVELS(...) \
  namespace base {             \
  __VA_ARGS__                  \
  }
#define NORMA_SIMD_BEST(name) (simd_level(), base::name)
#endif

// Defines a kernel (ops/kernel.h) as the one to run: NORMA_SIMD_KERNEL(product, (const Tensor& a, int64_t n), (a, n)).
#define NORMA_SIMD_KERNEL(name, parameters, arguments) \
  NORMA_SIMD_LEVELS(void name parameters;)             \
  void name parameters { NORMA_SIMD_BEST(name) arguments; }

}  // namespace norma::cpu
