// The element loops of the norm family on the CPU: everything that reads or writes an element is in this file, and
// knows rows of channels but nothing of groupings. ops/norm/norm_cpu.cc decides which rows go together.
//
// Rows are read in tiles of some rows by some vectors of columns, whose sums or tables stay in registers. Rows of fewer
// than 64 channels are read as one row of `width` = U * C columns at a time, U rows wide, with per-channel tables
// repeated U times: so any C fills vectors. Rows are taken in chunks, which need not lie together: the samples of a
// label are scattered.
#pragma once

#include <algorithm>
#include <numeric>

#include "norma/core/memory.h"
#include "norma/core/simd/vectors.h"
#include "norma/ops/norm/norm.h"

NORMA_SIMD_BEGIN
namespace norm_rows {

inline constexpr int kVectorBytes = kLanes * sizeof(float);
inline constexpr int64_t kMinWidth = 64;  // columns
inline constexpr int64_t kTileElements = 16384;
inline constexpr int64_t kChunkRows = 256;  // wide rows summed in T before the sums go on in double

// Rows of one tensor, each of `width` columns.
struct Chunk {
  int64_t tensor = 0, width = 0, count = 0;
  int64_t at[kChunkRows];  // where each begins
};

// U: the fewest rows that make 64 columns or more, in whole vectors.
inline int64_t rows_per_wide_row(int64_t channels) {
  const int64_t step = 16 / std::gcd(channels, int64_t{16}), rows = (kMinWidth + channels - 1) / channels;
  return (rows + step - 1) / step * step;
}

// A register of T from anywhere in memory, with a byte of a mask each; or a single T.
template <class T, bool vector>
struct Pack {
  typedef T type;
  typedef uint8_t mask;
  typedef bool truth;
  static constexpr int64_t size = 1;
};
template <class T>
struct Pack<T, true> {
  static constexpr int64_t size = kVectorBytes / sizeof(T);
  typedef T type __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
  typedef uint8_t mask __attribute__((vector_size(kVectorBytes / sizeof(T)), aligned(1), may_alias));
  typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> truth __attribute__((vector_size(kVectorBytes)));
};

// n packs beside each other.
template <class T, bool vector, int n>
struct Packs {
  using P = typename Pack<T, vector>::type;
  P pack[n];
  explicit Packs(const T* from) {
    for (int k = 0; k < n; ++k) pack[k] = reinterpret_cast<const P*>(from)[k];
  }
  void store(T* to) const {
    for (int k = 0; k < n; ++k) reinterpret_cast<P*>(to)[k] = pack[k];
  }
  P& operator[](int k) { return pack[k]; }
};

// Calls f.operator()<vector, n>(at, rows, j) for tiles of a chunk, so that all are covered: rows at[0], ..., n packs of
// columns from column j on: as many that `tables` of them fit into the registers, four, or one; then what is left,
// column by column.
template <class T, int tables, class F>
void by_tiles(const Chunk& chunk, F&& f) {
  constexpr int64_t size = Pack<T, true>::size, kPacks = kRegisters / (tables <= 3 ? 4 : 8);
  const int64_t height = std::max<int64_t>(kTileElements / chunk.width, 4), width = chunk.width;
  for (int64_t r = 0; r < chunk.count; r += height) {
    const int64_t *at = chunk.at + r, rows = std::min(height, chunk.count - r);
    int64_t j = 0;
    for (; j + kPacks * size <= width; j += kPacks * size) f.template operator()<true, kPacks>(at, rows, j);
    if constexpr (kPacks > 4)
      for (; j + 4 * size <= width; j += 4 * size) f.template operator()<true, 4>(at, rows, j);
    for (; j + size <= width; j += size) f.template operator()<true, 1>(at, rows, j);
    for (; j < width; ++j) f.template operator()<false, 1>(at, rows, j);
  }
}

// Asks for n packs of the row that comes kAhead rows after r. Tensors that were written a layer or more ago have left
// the cache, and what the hardware fetches by itself comes too late: 7 % of a ResNet-20 training step.
inline constexpr int64_t kAhead = 16;
template <int n, bool vector, class T>
[[gnu::always_inline]] inline void fetch(const T* p, const int64_t* at, int64_t rows, int64_t r, int64_t j) {
  if constexpr (!vector) return;
  const T* from = p + at[r + kAhead < rows ? r + kAhead : rows - 1] + j;
  for (int k = 0; k < n; k += 64 / kVectorBytes) __builtin_prefetch(from + k * Pack<T, true>::size);  // cache lines
}

// y = f(v), f the activation; of a pack or a scalar.
template <Activation::Kind kind, class P, class T>
[[gnu::always_inline]] inline P activate(P v, [[maybe_unused]] T slope) {
  if constexpr (kind == Activation::Kind::relu) return v < 0 ? P{} : v;
  else if constexpr (kind == Activation::Kind::leaky_relu) return v > 0 ? v : slope * v;
  else return v;
}

// Calls f.operator()<kind>() for the activation's kind.
template <class F>
void with_activation(Activation::Kind kind, F&& f) {
  switch (kind) {
    case Activation::Kind::none: return f.template operator()<Activation::Kind::none>();
    case Activation::Kind::relu: return f.template operator()<Activation::Kind::relu>();
    case Activation::Kind::leaky_relu: return f.template operator()<Activation::Kind::leaky_relu>();
  }
}

// Count, mean and sum of squared deviations of each of C channels, in double, merged by Chan's rule.
struct ChannelMoments {
  double count = 0;
  double* mean;
  double* m2;

  // Merges `n` elements a channel of means m and sums of squared deviations s.
  void merge(int64_t channels, double n, const double* __restrict m, const double* __restrict s) {
    const double both = count + n, weight = n / both, cross = count * weight;
    double* __restrict to_mean = mean, * __restrict to_m2 = m2;
    for (int64_t c = 0; c < channels; ++c) {
      const double delta = m[c] - to_mean[c];
      to_mean[c] += delta * weight;
      to_m2[c] += s[c] + delta * delta * cross;
    }
    count = both;
  }
  // The same of n elements a channel whose deviations from `shift` have the sums s and q (of squares).
  template <class T>
  void merge_shifted(int64_t channels, double n, const T* __restrict shift, const T* __restrict s,
                     const T* __restrict q) {
    const double both = count + n, weight = n / both, cross = count * weight, inverse = 1 / n;
    double* __restrict to_mean = mean, * __restrict to_m2 = m2;
    for (int64_t c = 0; c < channels; ++c) {
      const double sum = s[c], square = q[c] - sum * sum * inverse, delta = shift[c] + sum * inverse - to_mean[c];
      to_mean[c] += delta * weight;
      to_m2[c] += (square > 0 ? square : 0) + delta * delta * cross;
    }
    count = both;
  }
};

// Sums the U parts of C columns each into the first, in pairs: rounding errors grow with log U.
template <class T>
void fold(T* columns, int64_t width, int64_t channels) {
  for (int64_t parts = width / channels, half; parts > 1; parts = half) {
    half = (parts + 1) / 2;
    T* __restrict to = columns;
    const T* __restrict from = columns + half * channels;
    for (int64_t j = 0; j < (parts - half) * channels; ++j) to[j] += from[j];
  }
}

// Adds a chunk of x to the moments. Deviations from the mean so far, at first from the first row, are summed in T:
// exact where the mean is large against the deviation. `scratch`: 3 * width.
template <class T>
void add_moments(const T* __restrict x, const Chunk& chunk, int64_t channels, ChannelMoments& moments,
                 T* __restrict scratch) {
  const int64_t width = chunk.width;
  T* __restrict shift = scratch, * __restrict sum = scratch + width, * __restrict square = scratch + 2 * width;
  if (moments.count > 0) {
    for (int64_t c = 0; c < channels; ++c) shift[c] = static_cast<T>(moments.mean[c]);
  } else {
    std::copy_n(x + chunk.at[0], channels, shift);
  }
  for (int64_t j = channels; j < width; j += channels) std::copy_n(shift, channels, shift + j);
  std::fill_n(sum, 2 * width, T(0));
  by_tiles<T, 3>(chunk, [=]<bool vector, int n>(const int64_t* at, int64_t rows, int64_t j) {
    using P = typename Pack<T, vector>::type;
    constexpr int64_t size = Pack<T, vector>::size;
    Packs<T, vector, n> h(shift + j), s(sum + j), q(square + j);
    for (int64_t r = 0; r < rows; ++r) {
      fetch<n, vector>(x, at, rows, r, j);
      for (int k = 0; k < n; ++k) {
        const P d = *reinterpret_cast<const P*>(x + at[r] + j + k * size) - h[k];
        s[k] += d;
        q[k] += d * d;
      }
    }
    s.store(sum + j);
    q.store(square + j);
  });
  fold(sum, width, channels);
  fold(square, width, channels);
  moments.merge_shifted(channels, static_cast<double>(chunk.count * (width / channels)), shift, sum, square);
}

// What a set of rows needs of its cells, a column each: normalized value = (x - high) * scale + shift. `high` is the
// mean rounded to T, so the difference keeps its digits; what the rounding left is in `shift`.
template <class T>
struct Columns {
  T *high, *scale, *shift;
  T *slope, *offset;  // of the gradient: dx = scale * dy - (x - high) * slope - offset
  Columns(T* table, int64_t width)
      : high(table),
        scale(table + width),
        shift(table + 2 * width),
        slope(table + 3 * width),
        offset(table + 4 * width) {}
};
inline constexpr int64_t kColumnParts = 5;

// y of a tile, with what is fused chosen at compile time.
template <Activation::Kind kind, bool with_residual, bool with_mask, bool vector, int n, class T>
void apply_tile(const T* x, const T* residual, T* y, uint8_t* mask, const int64_t* at, int64_t rows, int64_t j,
                const Columns<T>& t, T leak) {
  using P = typename Pack<T, vector>::type;
  constexpr int64_t size = Pack<T, vector>::size;
  Packs<T, vector, n> high(t.high + j), scale(t.scale + j), shift(t.shift + j);
  for (int64_t r = 0; r < rows; ++r) {
    fetch<n, vector>(x, at, rows, r, j);
    if constexpr (with_residual) fetch<n, vector>(residual, at, rows, r, j);
    for (int k = 0; k < n; ++k) {
      const int64_t i = at[r] + j + k * size;
      P v = (*reinterpret_cast<const P*>(x + i) - high[k]) * scale[k] + shift[k];
      if constexpr (with_residual) v += *reinterpret_cast<const P*>(residual + i);
      if constexpr (with_mask && vector)
        *reinterpret_cast<typename Pack<T, true>::mask*>(mask + i) =
            -__builtin_convertvector(v > 0, typename Pack<T, true>::mask);
      else if constexpr (with_mask) mask[i] = v > 0;
      *reinterpret_cast<P*>(y + i) = activate<kind>(v, leak);
    }
  }
}

// y of a chunk, and where the pre-activation is positive; residual and mask may be null.
template <Activation::Kind kind, class T>
void apply(const T* x, const T* residual, T* y, uint8_t* mask, const Chunk& chunk, const Columns<T>& t, T leak) {
  by_tiles<T, 3>(chunk, [&]<bool vector, int n>(const int64_t* at, int64_t rows, int64_t j) {
    if (mask) apply_tile<kind, true, true, vector, n>(x, residual, y, mask, at, rows, j, t, leak);
    else if (residual) apply_tile<kind, true, false, vector, n>(x, residual, y, mask, at, rows, j, t, leak);
    else apply_tile<kind, false, false, vector, n>(x, residual, y, mask, at, rows, j, t, leak);
  });
}

// d behind the activation, whose argument was positive or not.
template <Activation::Kind kind, class P, class Truth, class T>
[[gnu::always_inline]] inline P behind(P d, [[maybe_unused]] Truth positive, [[maybe_unused]] T leak) {
  if constexpr (kind == Activation::Kind::none) return d;
  else return positive ? d : (kind == Activation::Kind::relu ? P{} : leak * d);
}

// dy behind the activation, of the pack at i. The mask says where the pre-activation was positive; without one it is
// computed again from x.
template <Activation::Kind kind, bool masked, bool vector, class T, class P>
[[gnu::always_inline]] inline P behind_at(const T* dy, [[maybe_unused]] const uint8_t* mask, int64_t i,
                                          [[maybe_unused]] P pre_activation, [[maybe_unused]] T leak) {
  const P d = *reinterpret_cast<const P*>(dy + i);
  if constexpr (kind == Activation::Kind::none) return d;
  else if constexpr (!masked) return behind<kind>(d, pre_activation > 0, leak);
  else if constexpr (!vector) return behind<kind>(d, mask[i] != 0, leak);
  else {  // (a reference to the mask would be one to aligned bytes)
    using Packed = Pack<T, true>;
    return behind<kind>(
        d,
        __builtin_convertvector(*reinterpret_cast<const typename Packed::mask*>(mask + i), typename Packed::truth) != 0,
        leak);
  }
}

// Adds a chunk's sums of dy and of dy * (x - high) to `sum` [2, C]; dy is behind the activation. `scratch`: 2 * width.
template <Activation::Kind kind, bool masked, class T>
void add_sums(const T* dy, const T* x, const uint8_t* mask, const Chunk& chunk, int64_t channels, const Columns<T>& t,
              T leak, T* __restrict scratch, double* __restrict sum) {
  const int64_t width = chunk.width;
  std::fill_n(scratch, 2 * width, T(0));
  by_tiles<T, 5>(chunk, [=]<bool vector, int n>(const int64_t* at, int64_t rows, int64_t j) {
    using P = typename Pack<T, vector>::type;
    constexpr int64_t size = Pack<T, vector>::size;
    Packs<T, vector, n> high(t.high + j), scale(t.scale + j), shift(t.shift + j), s(scratch + j),
        sx(scratch + width + j);
    for (int64_t r = 0; r < rows; ++r) {
      fetch<n, vector>(x, at, rows, r, j);
      fetch<n, vector>(dy, at, rows, r, j);
      for (int k = 0; k < n; ++k) {
        const int64_t i = at[r] + j + k * size;
        const P v = *reinterpret_cast<const P*>(x + i) - high[k];
        const P d = behind_at<kind, masked, vector, T, P>(dy, mask, i, v * scale[k] + shift[k], leak);
        s[k] += d;
        sx[k] += d * v;
      }
    }
    s.store(scratch + j);
    sx.store(scratch + width + j);
  });
  fold(scratch, width, channels);
  fold(scratch + width, width, channels);
  for (int64_t c = 0; c < channels; ++c) sum[c] += scratch[c];
  for (int64_t c = 0; c < channels; ++c) sum[channels + c] += scratch[width + c];
}

enum class Write { none, assign, add };

// dx of a tile (+)= scale * d - (x - high) * slope - offset, and the residual's gradient (+)= d, d being dy behind the
// activation.
template <Activation::Kind kind, bool masked, Write to_x, Write to_residual, bool vector, int n, class T>
void gradient_of_tile(const T* dy, const T* x, const uint8_t* mask, T* dx, T* dresidual, const int64_t* at,
                      int64_t rows, int64_t j, const Columns<T>& t, T leak) {
  using P = typename Pack<T, vector>::type;
  constexpr int64_t size = Pack<T, vector>::size;
  Packs<T, vector, n> high(t.high + j), scale(t.scale + j), shift(t.shift + j), slope(t.slope + j),
      offset(t.offset + j);
  for (int64_t r = 0; r < rows; ++r) {
    fetch<n, vector>(x, at, rows, r, j);
    fetch<n, vector>(dy, at, rows, r, j);
    for (int k = 0; k < n; ++k) {
      const int64_t i = at[r] + j + k * size;
      const P v = *reinterpret_cast<const P*>(x + i) - high[k];
      const P d = behind_at<kind, masked, vector, T, P>(dy, mask, i, v * scale[k] + shift[k], leak);
      if constexpr (to_x != Write::none) {
        const P gradient = scale[k] * d - v * slope[k] - offset[k];
        P& to = *reinterpret_cast<P*>(dx + i);
        to = to_x == Write::add ? to + gradient : gradient;
      }
      if constexpr (to_residual != Write::none) {
        P& to = *reinterpret_cast<P*>(dresidual + i);
        to = to_residual == Write::add ? to + d : d;
      }
    }
  }
}

// The gradients of a chunk. Either of dx and dresidual may be null: not wanted.
template <Activation::Kind kind, bool masked, class T>
void apply_gradient(const T* dy, const T* x, const uint8_t* mask, T* dx, bool add_dx, T* dresidual, bool add_dresidual,
                    const Chunk& chunk, const Columns<T>& t, T leak) {
  const auto with = [](const T* to, bool add, auto f) {
    if (!to) f.template operator()<Write::none>();
    else if (add) f.template operator()<Write::add>();
    else f.template operator()<Write::assign>();
  };
  with(dx, add_dx, [&]<Write to_x>() {
    with(dresidual, add_dresidual, [&]<Write to_residual>() {
      by_tiles<T, 5>(chunk, [=]<bool vector, int n>(const int64_t* at, int64_t rows, int64_t j) {
        gradient_of_tile<kind, masked, to_x, to_residual, vector, n>(dy, x, mask, dx, dresidual, at, rows, j, t, leak);
      });
    });
  });
}

}  // namespace norm_rows
NORMA_SIMD_END
