// Register tiles: R x K vectors of sums that stay in registers while products are added to them, what a matrix product
// or a convolution works on at a time. An innermost loop sees tile_rows(K) rows, so that multiply-adds follow each
// other without waiting for the result of the one before.
#pragma once

#include "norma/core/simd/vectors.h"

NORMA_SIMD_BEGIN

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

// Calls f.operator()<N>() with N = n, which is 1 to most.
template <int most, class F>
void with_constant(int64_t n, F&& f) {
  if constexpr (most > 1)
    if (n < most) return with_constant<most - 1>(n, f);
  f.template operator()<most>();
}

// Calls f.operator()<K>(first) for groups of K <= most of the vectors [begin, end), as even as can be.
template <int most = kMaxVectors>
NORMA_INLINE inline void for_groups(int64_t begin, int64_t end, auto&& f) {
  const int64_t count = end - begin, groups = (count + most - 1) / most;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t first = begin + count * group / groups, next = begin + count * (group + 1) / groups;
    with_constant<most>(next - first, [&]<int K>() { f.template operator()<K>(first); });
  }
}

NORMA_SIMD_END
