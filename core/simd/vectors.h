// Code for the vector units, compiled for each level of core/simd/dispatch.h, and vectors of floats as wide as the
// level's registers, from the compiler's vector extension: 64 bytes with AVX-512, 32 with AVX2, 16 elsewhere (a vector
// wider than a register is spilled at every step).
//
// What stands between NORMA_SIMD_BEGIN and NORMA_SIMD_END, in a header or a source file, is in namespace
// norma::cpu::<level> and compiled for that level. All else keeps the flags of the rest of the program: an inline
// function or a template of another namespace may be the copy that the linker keeps for everybody, so it has to run on
// every CPU. A source file with such code is compiled once for each level: cmake/norma_simd.cmake.
#pragma once

#include <cstdint>
#include <cstring>

#define NORMA_INLINE __attribute__((always_inline))  // functions and lambdas alike

// clang-format off
#define NORMA_PRAGMA(...) _Pragma(#__VA_ARGS__)
#if !defined(NORMA_SIMD)  // the level that this translation unit is for; what it has is in NORMA_SIMD_FEATURES
#define NORMA_SIMD base
#define NORMA_TARGET(features)
#define NORMA_TARGET_END
#elif defined(__clang__)
#define NORMA_TARGET(features) NORMA_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define NORMA_TARGET_END NORMA_PRAGMA(clang attribute pop)
#else
#define NORMA_TARGET(features) NORMA_PRAGMA(GCC push_options) NORMA_PRAGMA(GCC target(features, "prefer-vector-width=512"))
#define NORMA_TARGET_END NORMA_PRAGMA(GCC pop_options)
#endif
// (The pragmas come last: GCC 14 drops what is behind one in a macro.)
#define NORMA_SIMD_BEGIN namespace norma::cpu::NORMA_SIMD { NORMA_TARGET(NORMA_SIMD_FEATURES)
#define NORMA_SIMD_END } NORMA_TARGET_END

#if defined(__clang__)  // of lambdas: each compiler wants the two words in its order
#define NORMA_MUTABLE_INLINE NORMA_INLINE mutable
#else
#define NORMA_MUTABLE_INLINE mutable NORMA_INLINE
#endif
// clang-format on

NORMA_SIMD_BEGIN

#if defined(NORMA_SIMD_AVX512) || defined(__AVX512F__)  // a pragma need not define __AVX512F__
inline constexpr int kLanes = 16, kRegisters = 32;
#elif defined(NORMA_SIMD_AVX2) || defined(__AVX2__)
inline constexpr int kLanes = 8, kRegisters = 16;
#else
inline constexpr int kLanes = 4, kRegisters = 16;
#endif

// Arithmetic is lane by lane; of `float * Vec` the float goes to every lane.
typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));

// Of the first n lanes; the others are loaded as 0.
NORMA_INLINE inline Vec load(const float* p, int64_t n = kLanes) {
  Vec v{};
  std::memcpy(&v, p, n * sizeof(float));
  return v;
}
NORMA_INLINE inline void store(float* p, Vec v, int64_t n = kLanes) { std::memcpy(p, &v, n * sizeof(float)); }

// Asks for n floats, soon to be read or (`write`) overwritten, to be in the cache.
template <bool write = false>
NORMA_INLINE inline void prefetch(const float* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(p + i, write, 3);
}

constexpr int64_t vectors(int64_t n) { return (n + kLanes - 1) / kLanes; }

NORMA_SIMD_END
