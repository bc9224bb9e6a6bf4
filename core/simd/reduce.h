// Sums and extremes of many values in one pass, for the loops of ops/reduce: in double, or of integers. The
// values are taken as rows of 64 columns or so, each column has an accumulator, and these are combined in pairs at the
// end: it vectorises, and the rounding errors of a sum of n grow with n / 64.
#pragma once

#include <limits>

#include "norma/core/dtype.h"
#include "norma/core/parallel.h"
#include "norma/core/simd/vectors.h"

NORMA_SIMD_BEGIN

struct Sum {
  static constexpr double kIdentity = 0;
  static double combine(double a, double x) { return a + x; }
  static int64_t combine(int64_t a, int64_t x) {  // wraps
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(x));
  }
};
struct Max {
  static constexpr double kIdentity = -std::numeric_limits<double>::infinity();
  static auto combine(auto a, decltype(a) x) { return x > a || x != x ? x : a; }
};
struct Min {
  static constexpr double kIdentity = std::numeric_limits<double>::infinity();
  static auto combine(auto a, decltype(a) x) { return x < a || x != x ? x : a; }
};

constexpr int64_t kReduceBlock = 512;   // columns whose accumulators stay in the first-level cache
constexpr int64_t kReduceColumns = 64;  // narrower matrices are read as if they were about this wide

// acc[j] = f over i of x(first + i * stride + j, j), for j in [0, width).
template <class F, class X, class A>
NORMA_INLINE inline void reduce_rows(X x, int64_t first, int64_t rows, int64_t width, int64_t stride,
                                     A* __restrict acc) {
  for (int64_t i = 0; i < rows; ++i, first += stride)
    for (int64_t j = 0; j < width; ++j) acc[j] = F::combine(acc[j], static_cast<A>(x(first + j, j)));
}

// So many rows of a narrow matrix are taken as one.
NORMA_INLINE inline int64_t rows_together(int64_t rows, int64_t width, int64_t inner) {
  return inner == width ? std::clamp<int64_t>(kReduceColumns / width, 1, std::max<int64_t>(rows, 1)) : 1;
}

// acc[j] = f over all rows of x(row * inner + j, j), for j in [0, width), width <= kReduceBlock. Where rows are taken
// together, x is given j + width for the second of them, and so on.
template <class F, class X, class A>
NORMA_INLINE inline void reduce_block(X x, int64_t rows, int64_t width, int64_t inner, A* __restrict acc) {
  const int64_t together = rows_together(rows, width, inner);
  constexpr A identity = convert<A>(F::kIdentity);
  std::fill_n(acc, together * width, identity);
  const int64_t whole = rows / together;
  reduce_rows<F>(x, 0, whole, together * width, together * inner, acc);
  reduce_rows<F>(x, whole * together * inner, 1, (rows - whole * together) * width, 0, acc);
  for (int64_t live = together, half; live > 1; live = half) {
    half = (live + 1) / 2;
    for (int64_t j = 0; j < (live - half) * width; ++j) acc[j] = F::combine(acc[j], acc[half * width + j]);
  }
}

// f over i in [0, n) of x(i).
template <class F, class X>
NORMA_INLINE inline double reduce_all(int64_t n, X x) {
  double acc[kReduceColumns];
  reduce_block<F>([=](int64_t i, int64_t) { return x(i); }, n, 1, 1, acc);
  return acc[0];
}
template <class F, class T>
NORMA_INLINE inline double reduce_array(int64_t n, const T* x) {
  return reduce_all<F>(n, [=](int64_t i) { return x[i]; });
}

NORMA_SIMD_END
