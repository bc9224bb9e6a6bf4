// Sums and extremes of many values in one pass, in double: for ops/reduce/reduce_cpu.cc and ops/reduce/softmax_cpu.cc.
// The order is that of 64 columns or so, which are added at last in pairs: it vectorises, and the rounding errors of a
// sum of n grow with n / 64.
#pragma once

#include <algorithm>
#include <limits>

#include "norma/core/simd/vectors.h"

NORMA_SIMD_BEGIN

struct Sum {
  static constexpr double kIdentity = 0;
  static double combine(double a, double x) { return a + x; }
};
struct Max {
  static constexpr double kIdentity = -std::numeric_limits<double>::infinity();
  static double combine(double a, double x) { return x > a || x != x ? x : a; }
};
struct Min {
  static constexpr double kIdentity = std::numeric_limits<double>::infinity();
  static double combine(double a, double x) { return x < a || x != x ? x : a; }
};

constexpr int64_t kFoldTile = 512;    // columns whose accumulators stay in the first-level cache
constexpr int64_t kFoldColumns = 64;  // narrow matrices are read as if they were about this wide

// acc[j] = f over i of x(first + i * stride + j), for j in [0, width).
template <class F, class X>
NORMA_INLINE inline void fold_rows(X x, int64_t first, int64_t rows, int64_t width, int64_t stride,
                                   double* __restrict acc) {
  for (int64_t i = 0; i < rows; ++i, first += stride)
    for (int64_t j = 0; j < width; ++j) acc[j] = F::combine(acc[j], static_cast<double>(x(first + j)));
}

// The same for up to kFoldTile columns of any number of rows, `inner` elements apart.
template <class F, class X>
NORMA_INLINE inline void fold_tile(X x, int64_t rows, int64_t width, int64_t inner, double* __restrict acc) {
  const int64_t most = std::max<int64_t>(rows, 1);
  const int64_t together = inner == width ? std::clamp<int64_t>(kFoldColumns / width, 1, most) : 1;
  std::fill_n(acc, together * width, F::kIdentity);
  const int64_t whole = rows / together;
  fold_rows<F>(x, 0, whole, together * width, together * inner, acc);
  fold_rows<F>(x, whole * together * inner, 1, (rows - whole * together) * width, 0, acc);
  for (int64_t live = together, half; live > 1; live = half) {
    half = (live + 1) / 2;
    for (int64_t j = 0; j < (live - half) * width; ++j) acc[j] = F::combine(acc[j], acc[half * width + j]);
  }
}

// f over i in [0, n) of x(i).
template <class F, class X>
NORMA_INLINE inline double fold(int64_t n, X x) {
  double acc[kFoldColumns];
  fold_tile<F>(x, n, 1, 1, acc);
  return acc[0];
}

NORMA_SIMD_END
