// The element loops of the norm family on the CPU: every loop over elements of sets that share rows is in this file,
// and knows rows of channels but nothing of groupings. Which rows go together, ops/norm/cpu_passes.h decides. Not a
// public header.
//
// Rows are read in tiles of some rows by some vectors of columns, whose sums or constants stay in registers. Rows of
// fewer than 64 channels are read as one *wide row* of `width` = U * C columns at a time, with what belongs to a
// channel repeated U times: so any C fills vectors. Rows need not lie together: the samples of a label are scattered.
#pragma once

#include <algorithm>
#include <numeric>
#include <utility>

#include "norma/ops/conv/epilogue.h"
#include "norma/ops/norm/cpu_cells.h"

NORMA_SIMD_BEGIN
namespace norm_kernel {

inline constexpr int kVectorBytes = kLanes * sizeof(float);
inline constexpr int64_t kMinWidth = 64;  // columns
inline constexpr int64_t kTileElements = 16384;
inline constexpr int64_t kListRows = 256;  // wide rows summed in T before the sums go on in double

// Rows of one tensor, each of `width` columns.
struct RowList {
  int64_t tensor = 0, width = 0, count = 0;
  int64_t at[kListRows];  // where each begins
};

// U: the fewest rows that make 64 columns or more, in whole vectors.
inline int64_t rows_per_wide_row(int64_t channels) {
  const int64_t step = 16 / std::gcd(channels, int64_t{16}), rows = (kMinWidth + channels - 1) / channels;
  return (rows + step - 1) / step * step;
}

// A register of T from anywhere in memory, with a byte of a mask for each; or a single T.
template <class T, bool vector>
struct Pack {
  typedef T type;
  static constexpr int64_t size = 1;
  static bool read_mask(const uint8_t* mask) { return *mask != 0; }
  static void write_mask(uint8_t* mask, bool value) { *mask = value; }
};
template <class T>
struct Pack<T, true> {
  static constexpr int64_t size = kVectorBytes / sizeof(T);
  typedef T type __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
  typedef uint8_t mask __attribute__((vector_size(kVectorBytes / sizeof(T)), aligned(1), may_alias));
  typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> truth __attribute__((vector_size(kVectorBytes)));
  // (Pointers: a reference to a mask would be one to aligned bytes.)
  NORMA_INLINE static auto read_mask(const uint8_t* from) {
    return __builtin_convertvector(*reinterpret_cast<const mask*>(from), truth) != 0;
  }
  NORMA_INLINE static void write_mask(uint8_t* to, auto value) {
    *reinterpret_cast<mask*>(to) = -__builtin_convertvector(value, mask);
  }
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

// `rows` rows by some packs of columns: row r begins at at[r], the first column is j.
struct Tile {
  const int64_t* at;
  int64_t rows, j;
};

// Calls f.operator()<vector, n>(tile) for tiles, n packs wide, that cover the rows. As many packs that `tables` of them
// (sums, or constants of the columns) fit into the registers, four, or one; then what is left, column by column.
template <class T, int tables, class F>
void for_each_tile(const RowList& list, F&& f) {
  constexpr int64_t size = Pack<T, true>::size, kPacks = kRegisters / (tables <= 3 ? 4 : 8);
  const int64_t height = std::max<int64_t>(kTileElements / list.width, 4), width = list.width;
  for (int64_t r = 0; r < list.count; r += height) {
    Tile tile = {list.at + r, std::min(height, list.count - r), 0};
    int64_t& j = tile.j;
    for (; j + kPacks * size <= width; j += kPacks * size) f.template operator()<true, kPacks>(tile);
    if constexpr (kPacks > 4)
      for (; j + 4 * size <= width; j += 4 * size) f.template operator()<true, 4>(tile);
    for (; j + size <= width; j += size) f.template operator()<true, 1>(tile);
    for (; j < width; ++j) f.template operator()<false, 1>(tile);
  }
}

// Whether the activation passes on the gradient as it is. A relu does at NaN, as maximum(v, 0) does.
template <Activation::Kind kind, class P>
[[gnu::always_inline]] inline auto passes(P v) {
  if constexpr (kind == Activation::Kind::relu) return !(v <= 0);
  else return v > 0;
}

// Adds up the U parts of C columns each of a wide row, into the first, in pairs: rounding errors grow with log U.
template <class T>
void add_parts(T* columns, int64_t width, int64_t channels) {
  for (int64_t parts = width / channels, half; parts > 1; parts = half) {
    half = (parts + 1) / 2;
    T* __restrict to = columns;
    const T* __restrict from = columns + half * channels;
    for (int64_t j = 0; j < (parts - half) * channels; ++j) to[j] += from[j];
  }
}

// Whether one of the channels, of whose n deviations from a shift s and q are the sums (of squares), had a shift so far
// out that of q - s^2 / n, the squares about their mean, digits are lost.
template <class T>
bool shift_is_far_out(int64_t channels, T n, const T* s, const T* q) {
  int far = 0;
  for (int64_t c = 0; c < channels; ++c) far |= 32 * (n * q[c] - s[c] * s[c]) < n * q[c];
  return far != 0;
}

// Adds rows of x to the moments: their deviations from `shift`, summed in double.
template <class T>
[[gnu::noinline]] void add_moments_in_double(const T* x, const RowList& list, int64_t channels, ChannelMoments& moments,
                                             const T* shift) {
  double *sum = scratch<double, 4>(2 * channels), *square = sum + channels;
  std::fill_n(sum, 2 * channels, 0.0);
  for (int64_t r = 0; r < list.count; ++r)
    for (int64_t at = 0; at < list.width; at += channels)
      for (int64_t c = 0; c < channels; ++c) {
        const double d = double{x[list.at[r] + at + c]} - shift[c];
        sum[c] += d;
        square[c] += d * d;
      }
  moments.merge_shifted(channels, static_cast<double>(list.count * (list.width / channels)), shift, sum, square);
}

// Adds rows of x to the moments. Deviations from the mean so far, at first from the first row, are summed in T: exact
// where the mean is large against the deviation. Should the first row be an outlier, in double. `scratch`: 3 * width.
template <class T>
void add_moments(const T* __restrict x, const RowList& list, int64_t channels, ChannelMoments& moments,
                 T* __restrict scratch) {
  const int64_t width = list.width;
  T* __restrict shift = scratch, * __restrict sum = scratch + width, * __restrict square = scratch + 2 * width;
  if (moments.count > 0)
    for (int64_t c = 0; c < channels; ++c) shift[c] = static_cast<T>(moments.mean[c]);
  else std::copy_n(x + list.at[0], channels, shift);
  for (int64_t j = channels; j < width; j += channels) std::copy_n(shift, channels, shift + j);
  std::fill_n(sum, 2 * width, T(0));
  for_each_tile<T, 3>(list, [=]<bool vector, int n>(const Tile& tile) NORMA_INLINE {
    using P = typename Pack<T, vector>::type;
    constexpr int64_t size = Pack<T, vector>::size;
    Packs<T, vector, n> h(shift + tile.j), s(sum + tile.j), q(square + tile.j);
    for (int64_t r = 0; r < tile.rows; ++r)
      for (int k = 0; k < n; ++k) {
        const P d = *reinterpret_cast<const P*>(x + tile.at[r] + tile.j + k * size) - h[k];
        s[k] += d;
        q[k] += d * d;
      }
    s.store(sum + tile.j);
    q.store(square + tile.j);
  });
  add_parts(sum, width, channels);
  add_parts(square, width, channels);
  const int64_t n = list.count * (width / channels);
  if (moments.count == 0 && shift_is_far_out(channels, static_cast<T>(n), sum, square))
    add_moments_in_double(x, list, channels, moments, shift);
  else moments.merge_shifted(channels, static_cast<double>(n), shift, sum, square);
}

// What a set of rows needs of its cells (ops/norm/cell_math.h), an entry for each of `width` columns.
template <class T>
struct Columns {
  T *high, *scale, *shift;  // y = (x - high) scale + shift
  T *slope, *offset;        // dx = scale dy - (x - high) slope - offset
  Columns(T* memory, int64_t width) {
    for (T** part : {&high, &scale, &shift, &slope, &offset}) *part = std::exchange(memory, memory + width);
  }
};
inline constexpr int64_t kColumnParts = 5;

// What the forward pass reads and writes.
template <class T>
struct ForwardData {
  const T *x, *residual;  // residual: may be null
  T* y;
  uint8_t* mask;  // where the activation passes the gradient on; may be null, is without a residual
  T leak;
  const T* post_bias;  // for a wide row; may be null
};

// y of a tile, with what is fused chosen at compile time.
template <Activation::Kind kind, bool with_residual, bool with_mask, bool vector, int n, class T>
[[gnu::always_inline]] inline void apply_tile(const ForwardData<T>& data, const Tile& tile, const Columns<T>& columns) {
  using P = typename Pack<T, vector>::type;
  constexpr int64_t size = Pack<T, vector>::size;
  const auto [x, residual, y, mask, leak, _] = data;
  Packs<T, vector, n> high(columns.high + tile.j), scale(columns.scale + tile.j), shift(columns.shift + tile.j);
  for (int64_t r = 0; r < tile.rows; ++r)
    for (int k = 0; k < n; ++k) {
      const int64_t i = tile.at[r] + tile.j + k * size;
      P v = (*reinterpret_cast<const P*>(x + i) - high[k]) * scale[k] + shift[k];
      if constexpr (with_residual) v += *reinterpret_cast<const P*>(residual + i);
      if constexpr (with_mask) Pack<T, vector>::write_mask(mask + i, passes<kind>(v));
      *reinterpret_cast<P*>(y + i) = activate<kind>(v, leak);
    }
}

// y of some rows.
template <Activation::Kind kind, class T>
void apply(const ForwardData<T>& data, const RowList& list, const Columns<T>& columns) {
  for_each_tile<T, 3>(list, [&]<bool vector, int n>(const Tile& tile) NORMA_INLINE {
    if (data.mask) apply_tile<kind, true, true, vector, n>(data, tile, columns);
    else if (data.residual) apply_tile<kind, true, false, vector, n>(data, tile, columns);
    else apply_tile<kind, false, false, vector, n>(data, tile, columns);
  });
  T* __restrict y = data.y;
  for (int64_t r = 0; r < list.count && data.post_bias; ++r)  // y is still in the cache
    for (int64_t j = 0; j < list.width; ++j) y[list.at[r] + j] += data.post_bias[j];
}

// What the gradient's passes read and write.
template <class T>
struct GradientData {
  const T *dy, *x;
  const uint8_t* mask;  // null: the pre-activation is computed again from x
  T *dx, *dresidual;    // null: not wanted
  bool add_dx, add_dresidual;
  T leak;
};

template <class T>
GradientData<T> gradient_data(std::span<const Tensor> x, const NormCall& call, const NormGradients& to, int64_t t) {
  const Sink::Target &dx = to.dx[t], &dresidual = to.dresidual[t];
  const T *dy = to.dy[t].data<T>(), leak = static_cast<T>(call.activation.slope);
  T *to_x = dx.grad.mutable_data_or_null<T>(), *to_residual = dresidual.grad.mutable_data_or_null<T>();
  return {dy, x[t].data<T>(), to.mask[t].data_or_null<uint8_t>(), to_x, to_residual, dx.add, dresidual.add, leak};
}

// d behind the activation, which passes it on or not.
template <Activation::Kind kind, class P, class Truth, class T>
[[gnu::always_inline]] inline P behind(P d, [[maybe_unused]] Truth passed, [[maybe_unused]] T leak) {
  if constexpr (kind == Activation::Kind::none) return d;
  else return passed ? d : (kind == Activation::Kind::relu ? P{} : leak * d);
}

// dy behind the activation, of the pack at i.
template <Activation::Kind kind, bool masked, bool vector, class T, class P>
[[gnu::always_inline]] inline P behind_at(const T* dy, [[maybe_unused]] const uint8_t* mask, int64_t i,
                                          [[maybe_unused]] P pre_activation, [[maybe_unused]] T leak) {
  const P d = *reinterpret_cast<const typename Pack<T, vector>::type*>(dy + i);  // (to clang, P is an aligned one)
  if constexpr (masked) return behind<kind>(d, Pack<T, vector>::read_mask(mask + i), leak);
  else return behind<kind>(d, passes<kind>(pre_activation), leak);
}

// Adds the sums over some rows of dy and of dy * (x - high) to `sum` [2, C]; dy is behind the activation. `scratch`:
// 2 * width.
template <Activation::Kind kind, bool masked, class T>
void add_sums(const GradientData<T>& data, const RowList& list, int64_t channels, const Columns<T>& columns,
              T* __restrict scratch, double* __restrict sum) {
  const int64_t width = list.width;
  std::fill_n(scratch, 2 * width, T(0));
  for_each_tile<T, 5>(list, [=, dy = data.dy, x = data.x, mask = data.mask,
                             leak = data.leak]<bool vector, int n>(const Tile& tile) NORMA_INLINE {
    using P = typename Pack<T, vector>::type;
    constexpr int64_t size = Pack<T, vector>::size;
    Packs<T, vector, n> high(columns.high + tile.j), scale(columns.scale + tile.j), shift(columns.shift + tile.j),
        s(scratch + tile.j), sx(scratch + width + tile.j);
    for (int64_t r = 0; r < tile.rows; ++r)
      for (int k = 0; k < n; ++k) {
        const int64_t i = tile.at[r] + tile.j + k * size;
        const P v = *reinterpret_cast<const P*>(x + i) - high[k];
        const P d = behind_at<kind, masked, vector, T, P>(dy, mask, i, v * scale[k] + shift[k], leak);
        s[k] += d;
        sx[k] += d * v;
      }
    s.store(scratch + tile.j);
    sx.store(scratch + width + tile.j);
  });
  add_parts(scratch, width, channels);
  add_parts(scratch + width, width, channels);
  for (int64_t c = 0; c < channels; ++c) sum[c] += scratch[c];
  for (int64_t c = 0; c < channels; ++c) sum[channels + c] += scratch[width + c];
}

enum class Write { none, assign, add };

// Calls f.operator()<write>().
template <class T, class F>
void with_write(const T* to, bool add, F&& f) {
  if (!to) f.template operator()<Write::none>();
  else if (add) f.template operator()<Write::add>();
  else f.template operator()<Write::assign>();
}

// dx of a tile (+)= scale * d - (x - high) * slope - offset, and the residual's gradient (+)= d, d being dy behind the
// activation. Where there is no slope, as with given statistics, x has no part in dx, not even an infinite one.
template <Activation::Kind kind, bool masked, Write to_x, Write to_residual, bool vector, int n, class T>
[[gnu::always_inline]] inline void gradient_of_tile(const GradientData<T>& data, const Tile& tile,
                                                    const Columns<T>& columns) {
  using P = typename Pack<T, vector>::type;
  constexpr int64_t size = Pack<T, vector>::size;
  const auto [dy, x, mask, dx, dresidual, add_dx, add_dresidual, leak] = data;
  Packs<T, vector, n> high(columns.high + tile.j), scale(columns.scale + tile.j), shift(columns.shift + tile.j),
      slope(columns.slope + tile.j), offset(columns.offset + tile.j);
  for (int64_t r = 0; r < tile.rows; ++r)
    for (int k = 0; k < n; ++k) {
      const int64_t i = tile.at[r] + tile.j + k * size;
      const P v = *reinterpret_cast<const P*>(x + i) - high[k];
      const P d = behind_at<kind, masked, vector, T, P>(dy, mask, i, v * scale[k] + shift[k], leak);
      if constexpr (to_x != Write::none) {
        const P own = slope[k] != 0 ? v : P{}, gradient = scale[k] * d - own * slope[k] - offset[k];
        P& to = *reinterpret_cast<P*>(dx + i);
        to = to_x == Write::add ? to + gradient : gradient;
      }
      if constexpr (to_residual != Write::none) {
        P& to = *reinterpret_cast<P*>(dresidual + i);
        to = to_residual == Write::add ? to + d : d;
      }
    }
}

// The gradients of some rows.
template <Activation::Kind kind, bool masked, class T>
void apply_gradient(const GradientData<T>& data, const RowList& list, const Columns<T>& columns) {
  with_write(data.dx, data.add_dx, [&]<Write to_x>() {
    with_write(data.dresidual, data.add_dresidual, [&]<Write to_residual>() {
      for_each_tile<T, 5>(list, [&]<bool vector, int n>(const Tile& tile) NORMA_INLINE {
        gradient_of_tile<kind, masked, to_x, to_residual, vector, n>(data, tile, columns);
      });
    });
  });
}

}  // namespace norm_kernel
NORMA_SIMD_END
