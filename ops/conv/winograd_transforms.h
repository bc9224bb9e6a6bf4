// The transforms of a tile by Winograd's minimal filtering, in vectors of channels: for ops/conv/winograd.cc, where the
// names of the matrices are explained. F4 is F(4x4, 3x3), F2 is F(2x2, 3x3).
#pragma once

#include "norma/core/simd/vectors.h"

NORMA_SIMD_BEGIN

// The transforms of one line of a tile. Points: 0, 1, -1, 2, -2, infinity.
struct F4 {
  static constexpr int out = 4, in = 6;
  static constexpr float G[6][3] = {{1 / 4.F, 0, 0},
                                    {-1 / 6.F, -1 / 6.F, -1 / 6.F},
                                    {-1 / 6.F, 1 / 6.F, -1 / 6.F},
                                    {1 / 24.F, 1 / 12.F, 1 / 6.F},
                                    {1 / 24.F, -1 / 12.F, 1 / 6.F},
                                    {0, 0, 1}};
  NORMA_INLINE static void input(const Vec (&d)[6], Vec (&v)[6]) {  // B^T d
    const Vec a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = d[3] - d[1];
    v[0] = 4 * d[0] + (d[4] - 5 * d[2]);
    v[1] = a + b;
    v[2] = a - b;
    v[3] = c + 2 * e;
    v[4] = c - 2 * e;
    v[5] = 4 * d[1] + (d[5] - 5 * d[3]);
  }
  NORMA_INLINE static void output(const Vec (&m)[6], Vec (&y)[4]) {  // A^T m
    const Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
    y[0] = m[0] + a + c;
    y[1] = b + 2 * e;
    y[2] = a + 4 * c;
    y[3] = b + 8 * e + m[5];
  }
  NORMA_INLINE static void gradient(const Vec (&y)[4], Vec (&v)[6]) {  // A dy
    const Vec a = y[0] + y[2], b = y[1] + y[3], c = y[0] + 4 * y[2], e = y[1] + 4 * y[3];
    v[0] = y[0];
    v[1] = a + b;
    v[2] = a - b;
    v[3] = c + 2 * e;
    v[4] = c - 2 * e;
    v[5] = y[3];
  }
};

struct F2 {  // Points: 0, 1, -1, infinity.
  static constexpr int out = 2, in = 4;
  static constexpr float G[4][3] = {{1, 0, 0}, {0.5F, 0.5F, 0.5F}, {0.5F, -0.5F, 0.5F}, {0, 0, 1}};
  NORMA_INLINE static void input(const Vec (&d)[4], Vec (&v)[4]) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  NORMA_INLINE static void output(const Vec (&m)[4], Vec (&y)[2]) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] + m[3];
  }
  NORMA_INLINE static void gradient(const Vec (&y)[2], Vec (&v)[4]) {
    v[0] = y[0];
    v[1] = y[0] + y[1];
    v[2] = y[0] - y[1];
    v[3] = y[1];
  }
};

template <class F>
NORMA_INLINE inline void filter(const Vec (&w)[3], Vec (&u)[F::in]) {  // G w
#pragma GCC unroll 6
  for (int i = 0; i < F::in; ++i) u[i] = F::G[i][0] * w[0] + F::G[i][1] * w[1] + F::G[i][2] * w[2];
}
template <class F>
NORMA_INLINE inline void filter_gradient(const Vec (&u)[F::in], Vec (&w)[3]) {  // G^T u
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j) {
    w[j] = Vec{};
#pragma GCC unroll 6
    for (int i = 0; i < F::in; ++i) w[j] += F::G[i][j] * u[i];
  }
}

// Transforms each column of the from x from vectors at(i, j), then each row of that; put(i, j, v) gets the to x to. A
// column of which there is nothing, has(j), is zeros.
template <int from, int to, auto line, class At, class Put, class Has = decltype([](int) { return true; })>
NORMA_INLINE inline void transform(At at, Put put, Has has = {}) {
  Vec t[to][from];
#pragma GCC unroll 6
  for (int j = 0; j < from; ++j) {
    if (!has(j)) {
#pragma GCC unroll 6
      for (int i = 0; i < to; ++i) t[i][j] = Vec{};
      continue;
    }
    Vec a[from], b[to];
#pragma GCC unroll 6
    for (int i = 0; i < from; ++i) a[i] = at(i, j);
    line(a, b);
#pragma GCC unroll 6
    for (int i = 0; i < to; ++i) t[i][j] = b[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < to; ++i) {
    Vec b[to];
    line(t[i], b);
#pragma GCC unroll 6
    for (int j = 0; j < to; ++j) put(i, j, b[j]);
  }
}
// Steps through n x n pixels in memory, an `inner` step n - 1 times and then back and an `outer` one.
template <int n>
struct Walk {
  const float* next;
  int64_t inner, outer;

  NORMA_INLINE float* operator()(int i) {
    const float* p = next;
    next += i + 1 < n ? inner : outer - (n - 1) * inner;
    return const_cast<float*>(p);
  }
};

NORMA_SIMD_END
