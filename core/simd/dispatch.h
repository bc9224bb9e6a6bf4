// Which build of the vectorised kernels runs. With -DNORMA_NATIVE=ON there is one, `base`, for this machine's CPU. Else
// `base` is for any CPU of the architecture and, on x86-64, the same files are compiled for AVX2 and for AVX-512, too.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace norma::cpu {

enum class SimdLevel : uint8_t { base, avx2, avx512 };

// The level that runs: what $NORMA_SIMD names when the first kernel asks (base, avx2 or avx512), else the highest that
// was built and that this CPU can run. An error where $NORMA_SIMD names none, or one that was not built or cannot run.
SimdLevel simd_level();
void set_simd_level(SimdLevel level);         // for tests: from the next kernel on
SimdLevel simd_level(std::string_view name);  // the level of that name; the same errors

// Declares the same for each level that was built: NORMA_SIMD_LEVELS(extern const Kernel product;). The one of each,
// and the one to run.
#define NORMA_SIMD_LEVEL(level, ...) \
  namespace level {                  \
  __VA_ARGS__                        \
  }
#ifdef NORMA_SIMD_DISPATCH
#define NORMA_SIMD_LEVELS(...)        \
  NORMA_SIMD_LEVEL(base, __VA_ARGS__) \
  NORMA_SIMD_LEVEL(avx2, __VA_ARGS__) \
  NORMA_SIMD_LEVEL(avx512, __VA_ARGS__)
#define NORMA_SIMD_EACH(name) &norma::cpu::base::name, &norma::cpu::avx2::name, &norma::cpu::avx512::name
#else
#define NORMA_SIMD_LEVELS(...) NORMA_SIMD_LEVEL(base, __VA_ARGS__)
#define NORMA_SIMD_EACH(name) &norma::cpu::base::name
#endif
#define NORMA_SIMD_BEST(name) (*std::array{NORMA_SIMD_EACH(name)}[static_cast<size_t>(norma::cpu::simd_level())])

}  // namespace norma::cpu
