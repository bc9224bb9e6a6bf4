// The tile transforms of Winograd's minimal filtering, in vectors of channels, and how the tiles of a batch are cut
// into work: for ops/conv/winograd.cc.
#pragma once

#include "norma/ops/conv/epilogue.h"

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
template <int from, int to, auto line, class At, class Put, class Has>
NORMA_INLINE inline void transform(At at, Put put, Has has) {
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
template <int from, int to, auto line, class At, class Put>
NORMA_INLINE inline void transform(At at, Put put) {
  transform<from, to, line>(at, put, [](int) NORMA_INLINE { return true; });
}

constexpr int64_t kWideWeights = 3 << 20;  // elements of U, from which on it is cut up

// How the work is cut: tiles into blocks, output channels into parts. c and k count the vectors of channels on the side
// of V and on the other.
template <class F>
struct Plan {
  Plan(int64_t n, int64_t h, int64_t w, int64_t channels, int64_t filters, int64_t tiles_in_block)
      : rows((h + F::out - 1) / F::out),
        columns((w + F::out - 1) / F::out),
        tiles(n * rows * columns),
        c(vectors(channels)),
        k(vectors(filters)),
        block(tiles_in_block),
        blocks((tiles + block - 1) / block) {}
  // Where U would fill the cache and V, of `vectors` vectors, does not: makes all tiles one block, whose V all threads
  // read, while each part of k has a U of its own that comes and goes in its thread's cache.
  bool make_wide(int64_t vectors) {
    const int64_t all = (tiles + 15) / 16 * 16 + 1;  // an odd stride
    if (places * c * k * kLanes * kLanes < kWideWeights || all * vectors > c * k * kLanes) return false;
    block = all, blocks = 1, parts = (k + 1) / 2;
    return true;
  }
  static constexpr int places = F::in * F::in;
  int64_t rows, columns, tiles;
  int64_t c, k;
  int64_t block, blocks, parts = 1;

  int64_t stride(int64_t count) const { return (count * block + 1) * kLanes; }  // of V and M by place
  int64_t size(int64_t count) const { return places * stride(count); }
  int64_t plane(int64_t count) const { return (c * count * kLanes + 1) * kLanes; }  // of U by place
  int64_t part(int64_t i) const { return k * i / parts; }                           // where it begins
  int64_t largest_part() const { return (k + parts - 1) / parts; }

  // In parallel, calls f(c, k, offset, step) for blocks of kLanes x kLanes weights of the vectors [from, to) of k, in
  // groups that end where parts do: the first lies at `offset` from U's beginning for those vectors, and a row further
  // on at `step` from there.
  template <class G>
  void for_weights(int64_t from, int64_t to, G&& f) const {
    parallel_for(c, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < parts; ++i)
        for_groups(std::max(from, part(i)), std::min(to, part(i + 1)), [&]<int K>(int64_t group) {
          for (int64_t b = begin; b < end; ++b)
            for (int k_in = 0; k_in < K; ++k_in)
              f(b * kLanes, (group + k_in) * kLanes, (((group - from) * c + b * K) * kLanes + k_in) * kLanes,
                K * kLanes);
        });
    });
  }
};

// A tile of the output, and the way to the next.
template <class F>
struct Tile {
  Tile(const Plan<F>& plan, int64_t index)
      : rows(plan.rows * F::out),
        columns(plan.columns * F::out),
        image(index / (plan.rows * plan.columns)),
        top(index / plan.columns % plan.rows * F::out),
        left(index % plan.columns * F::out) {}
  void operator++() {
    if ((left += F::out) < columns) return;
    left = 0;
    if ((top += F::out) < rows) return;
    top = 0;
    ++image;
  }
  int64_t rows, columns, image, top, left;
};

// Fetches the pixels of an image that lie under a share of `count` tiles into the cache, ahead of their use: called in
// turn with part = 0 ... parts - 1, between two of which there is work to do.
template <class F, bool write>
class Prefetch {
 public:
  Prefetch(const Plan<F>& plan, const float* image, const Images& size, int64_t below, int64_t first, int64_t count)
      : tile_(plan, first), image_(image), size_(size), below_(below), rows_(count * F::out) {}
  NORMA_INLINE void operator()(int64_t part, int64_t parts) {
    for (; at_ < rows_ * (part + 1) / parts; ++at_) {
      const int64_t y = tile_.top + at_ % F::out + below_;
      if (y >= 0 && y < size_.h) {
        const float* from = image_ + ((tile_.image * size_.h + y) * size_.w + tile_.left) * size_.c;
        prefetch<write>(from, std::min<int64_t>(F::out, size_.w - tile_.left) * size_.c);
      }
      if (at_ % F::out == F::out - 1) ++tile_;
    }
  }

 private:
  Tile<F> tile_;
  const float* image_;
  const Images& size_;
  int64_t below_, rows_, at_ = 0;
};

// Steps through n x n pixels in memory, an `inner` step n - 1 times and then back and an `outer` one.
template <int n>
struct Walk {
  Walk(const float* p, int64_t inner, int64_t outer)
      : next(p), inner_step(inner), outer_step(outer - (n - 1) * inner) {}
  NORMA_INLINE float* operator()(int i) {
    const float* p = next;
    next += i + 1 < n ? inner_step : outer_step;
    return const_cast<float*>(p);
  }
  const float* next;
  int64_t inner_step, outer_step;
};

NORMA_SIMD_END
