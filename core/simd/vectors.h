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

#include "norma/core/memory.h"
#include "norma/core/parallel.h"

#define NORMA_INLINE __attribute__((always_inline))  // functions and lambdas alike

#if defined(NORMA_SIMD_AVX512)  // the level that this translation unit is for
#define NORMA_SIMD avx512
#define NORMA_SIMD_TARGET _Pragma("GCC target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,prefer-vector-width=512\")")
#elif defined(NORMA_SIMD_AVX2)
#define NORMA_SIMD avx2
#define NORMA_SIMD_TARGET _Pragma("GCC target(\"avx2,fma\")")
#else
#define NORMA_SIMD base
#endif

#ifdef NORMA_SIMD_TARGET
#define NORMA_SIMD_BEGIN _Pragma("GCC push_options") NORMA_SIMD_TARGET namespace norma::cpu::NORMA_SIMD {
#define NORMA_SIMD_END \
  }                    \
  _Pragma("GCC pop_options")
#else
#define NORMA_SIMD_BEGIN namespace norma::cpu::NORMA_SIMD {
#define NORMA_SIMD_END }
#endif

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

NORMA_INLINE inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
NORMA_INLINE inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

// Of the first n lanes only; the others are loaded as 0.
NORMA_INLINE inline Vec load(const float* p, int64_t n) {
  Vec v{};
  std::memcpy(&v, p, static_cast<size_t>(n) * sizeof(float));
  return v;
}
NORMA_INLINE inline void store(float* p, Vec v, int64_t n) {
  std::memcpy(p, &v, static_cast<size_t>(n) * sizeof(float));
}

// Asks for n floats, soon to be read or (`write`) overwritten, to be in the cache.
template <bool write = false>
NORMA_INLINE inline void prefetch(const float* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(p + i, write, 3);
}

constexpr int64_t vectors(int64_t n) { return (n + kLanes - 1) / kLanes; }

// Register tiles: sums of R rows x K vectors, that stay in registers while products are added to them. An innermost
// loop sees `rows` of them, so that multiply-adds follow each other without waiting.
inline constexpr int kMaxVectors = kRegisters == 32 ? 4 : 3;
constexpr int tile_rows(int k) { return kRegisters == 32 ? (k == 1 ? 16 : k == 4 ? 4 : 8) : (k == 1 ? 8 : 4); }

template <int R, int K, class F>
NORMA_INLINE inline void for_tile(Vec (&sum)[R][K], F f) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) f(sum[r][k], r, k);
}

// sum[r][k] += x(r) * y(k), x(r) a float and y(k) a vector.
template <int R, int K, class X, class Y>
NORMA_INLINE inline void add_products(Vec (&sum)[R][K], X x, Y y) {
  Vec factor[K];
#pragma GCC unroll 4
  for (int k = 0; k < K; ++k) factor[k] = y(k);
  for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { s += x(r) * factor[k]; });
}

// Calls f.operator()<K>(first) for groups of K <= kMaxVectors of the vectors [begin, end), as even as can be.
template <class F>
NORMA_INLINE inline void for_groups(int64_t begin, int64_t end, F&& f) {
  const int64_t count = end - begin, groups = (count + kMaxVectors - 1) / kMaxVectors;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t first = begin + count * group / groups;
    switch (begin + count * (group + 1) / groups - first) {
      case 1: f.template operator()<1>(first); break;
      case 2: f.template operator()<2>(first); break;
      case 3: f.template operator()<3>(first); break;
      default: f.template operator()<kMaxVectors>(first);
    }
  }
}

// Uninitialised floats from the pool.
class Scratch {
 public:
  explicit Scratch(int64_t n)
      : bytes_(static_cast<size_t>(n) * sizeof(float)), data_(static_cast<float*>(cpu_memory().allocate(bytes_))) {}
  ~Scratch() { cpu_memory().release(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  operator float*() const { return data_; }

 private:
  size_t bytes_;
  float* data_;
};

// Called before a parallel region in which each slot has a Scratch of a and one of b floats: leaves as many in the pool
// as threads can want at a time. Else how the threads happen to run decides when the system is asked for memory.
inline void reserve(int64_t a, int64_t b, int threads = num_threads()) {
  if (threads == 0) return;
  const Scratch first(a), second(b);
  reserve(a, b, threads - 1);
}

NORMA_SIMD_END
