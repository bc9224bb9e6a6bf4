// The element loops of the norm family on the CPU: everything that reads or writes an element is in this file, and
// knows rows of channels but nothing of groupings. ops/norm_cpu.cc decides which rows go together.
//
// Rows of fewer than 64 channels are read as one row of `width` = U * C "columns" at a time, U rows wide, with
// per-channel tables repeated U times: so any C fills vector registers, and the loops over columns need no
// reassociation to vectorise. Rows are taken in chunks, which need not lie together: the samples of a label are
// scattered.
#pragma once

#include <cmath>

#include "norma/core/memory.h"
#include "norma/ops/norm.h"

namespace norma::norm_rows {

inline constexpr int64_t kMinWidth = 64;   // columns
inline constexpr int64_t kChunkRows = 64;  // wide rows summed in T before the sums go on in double

// Rows of one tensor, each of `width` columns.
struct Chunk {
  int64_t tensor = 0, width = 0, count = 0;
  int64_t at[kChunkRows];  // where each begins
};

inline int64_t rows_per_wide_row(int64_t channels) {
  return channels >= kMinWidth ? 1 : (kMinWidth + channels - 1) / channels;
}

// y = f(v), f the activation.
template <Activation::Kind kind, class T>
T activate(T v, [[maybe_unused]] T slope) {
  if constexpr (kind == Activation::Kind::relu) return v < 0 ? T(0) : v;
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
  int64_t r = 0;
  for (; r + 4 <= chunk.count; r += 4) {
    const T *__restrict x0 = x + chunk.at[r], *__restrict x1 = x + chunk.at[r + 1], *__restrict x2 = x + chunk.at[r + 2],
                        *__restrict x3 = x + chunk.at[r + 3];
    for (int64_t j = 0; j < width; ++j) {
      const T a = x0[j] - shift[j], b = x1[j] - shift[j], c = x2[j] - shift[j], d = x3[j] - shift[j];
      sum[j] += (a + b) + (c + d);
      square[j] += (a * a + b * b) + (c * c + d * d);
    }
  }
  for (; r < chunk.count; ++r) {
    const T* __restrict row = x + chunk.at[r];
    for (int64_t j = 0; j < width; ++j) {
      const T a = row[j] - shift[j];
      sum[j] += a;
      square[j] += a * a;
    }
  }
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

// Calls f.operator()<n>(at) for the rows of a chunk, n = kTogether at a time, while there are as many, and n = 1.
// Fetches the beginning of the next rows of `arrays`: rows that do not lie together are beyond the CPU's foresight.
template <int kTogether, class F, class... A>
void by_rows(const Chunk& chunk, F&& f, const A*... arrays) {
  int64_t r = 0;
  for (; r + kTogether <= chunk.count; r += kTogether) {
    for (int64_t next = r + kTogether; next < std::min(r + 2 * kTogether, chunk.count); ++next)
      for (int64_t line = 0; line < 256; line += 64)
        (__builtin_prefetch(reinterpret_cast<const char*>(arrays + chunk.at[next]) + line), ...);
    f.template operator()<kTogether>(chunk.at + r);
  }
  for (; r < chunk.count; ++r) f.template operator()<1>(chunk.at + r);
}

template <Activation::Kind kind, int kRows, bool with_residual, bool with_mask, class T>
void apply_rows(const T* __restrict x, const T* __restrict residual, T* __restrict y, uint8_t* __restrict mask,
                const int64_t* at, int64_t width, const T* __restrict high, const T* __restrict scale,
                const T* __restrict shift, T leak) {
#pragma GCC ivdep
  for (int64_t j = 0; j < width; ++j) {
    const T h = high[j], sc = scale[j], sh = shift[j];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      T v = (x[at[r] + j] - h) * sc + sh;
      if constexpr (with_residual) v += residual[at[r] + j];
      if constexpr (with_mask) mask[at[r] + j] = v > 0;
      y[at[r] + j] = activate<kind>(v, leak);
    }
  }
}

// y of a chunk, and where the pre-activation is positive; residual and mask may be null.
template <Activation::Kind kind, class T>
void apply(const T* x, const T* residual, T* y, uint8_t* mask, const Chunk& chunk, const Columns<T>& t, T leak) {
  by_rows<4>(
      chunk,
      [&]<int kRows>(const int64_t* at) {
        if (mask)
          apply_rows<kind, kRows, true, true>(x, residual, y, mask, at, chunk.width, t.high, t.scale, t.shift, leak);
        else if (residual)
          apply_rows<kind, kRows, true, false>(x, residual, y, mask, at, chunk.width, t.high, t.scale, t.shift, leak);
        else
          apply_rows<kind, kRows, false, false>(x, residual, y, mask, at, chunk.width, t.high, t.scale, t.shift, leak);
      },
      x);
}

// dy behind the activation. The mask says where the pre-activation was positive; without one it is computed again from
// x.
template <Activation::Kind kind, bool masked, class T>
T behind(T dy, T x, [[maybe_unused]] uint8_t mask, T high, T scale, T shift, T leak) {
  if constexpr (kind == Activation::Kind::none) return dy;
  else {
    const bool positive = masked ? mask != 0 : (x - high) * scale + shift > 0;
    return positive ? dy : (kind == Activation::Kind::relu ? T(0) : leak * dy);
  }
}

template <Activation::Kind kind, bool masked, int kRows, class T>
void add_sums_of_rows(const T* __restrict dy, const T* __restrict x, const uint8_t* __restrict mask, const int64_t* at,
                      int64_t width, const T* __restrict high, const T* __restrict scale, const T* __restrict shift,
                      T leak, T* __restrict sum, T* __restrict sum_x) {
  for (int64_t j = 0; j < width; ++j) {
    const T h = high[j], sc = scale[j], sh = shift[j];
    T s = 0, sx = 0;
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const T v = x[at[r] + j];
      const T d = behind<kind, masked>(dy[at[r] + j], v, masked ? mask[at[r] + j] : uint8_t{0}, h, sc, sh, leak);
      s += d;
      sx += d * (v - h);
    }
    sum[j] += s;
    sum_x[j] += sx;
  }
}

// Adds a chunk's sums of dy and of dy * (x - high) to `sum` [2, C]; dy is behind the activation. `scratch`: 2 * width.
template <Activation::Kind kind, bool masked, class T>
void add_sums(const T* dy, const T* x, const uint8_t* mask, const Chunk& chunk, int64_t channels, const Columns<T>& t,
              T leak, T* __restrict scratch, double* __restrict sum) {
  const int64_t width = chunk.width;
  std::fill_n(scratch, 2 * width, T(0));
  by_rows<4>(
      chunk,
      [&]<int kRows>(const int64_t* at) {
        add_sums_of_rows<kind, masked, kRows>(dy, x, mask, at, width, t.high, t.scale, t.shift, leak, scratch,
                                              scratch + width);
      },
      x, dy);
  fold(scratch, width, channels);
  fold(scratch + width, width, channels);
  for (int64_t c = 0; c < channels; ++c) sum[c] += scratch[c];
  for (int64_t c = 0; c < channels; ++c) sum[channels + c] += scratch[width + c];
}

template <Activation::Kind kind, bool masked, bool add, int kRows, class T>
void gradient_of_rows(const T* __restrict dy, const T* __restrict x, const uint8_t* __restrict mask, T* __restrict dx,
                      const int64_t* at, int64_t width, const T* __restrict high, const T* __restrict scale,
                      const T* __restrict shift, const T* __restrict slope, const T* __restrict offset, T leak) {
#pragma GCC ivdep
  for (int64_t j = 0; j < width; ++j) {
    const T h = high[j], sc = scale[j], sh = shift[j], k = slope[j], o = offset[j];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const T v = x[at[r] + j];
      const T d = behind<kind, masked>(dy[at[r] + j], v, masked ? mask[at[r] + j] : uint8_t{0}, h, sc, sh, leak);
      const T gradient = sc * d - (v - h) * k - o;
      dx[at[r] + j] = add ? dx[at[r] + j] + gradient : gradient;
    }
  }
}

template <Activation::Kind kind, bool masked, class T>
void residual_gradient_of_row(const T* __restrict dy, const T* __restrict x, const uint8_t* __restrict mask,
                              T* __restrict dresidual, bool add, int64_t width, const T* __restrict high,
                              const T* __restrict scale, const T* __restrict shift, T leak) {
  const auto d = [=](int64_t j) {
    return behind<kind, masked>(dy[j], x[j], masked ? mask[j] : uint8_t{0}, high[j], scale[j], shift[j], leak);
  };
  if (add) {
    for (int64_t j = 0; j < width; ++j) dresidual[j] += d(j);
  } else {
    for (int64_t j = 0; j < width; ++j) dresidual[j] = d(j);
  }
}

// dx (+)= scale * d - (x - high) * slope - offset, and the residual's gradient (+)= d, d being dy behind the
// activation. Either may be null: not wanted.
template <Activation::Kind kind, bool masked, class T>
void apply_gradient(const T* dy, const T* x, const uint8_t* mask, T* dx, bool add_dx, T* dresidual, bool add_dresidual,
                    const Chunk& chunk, const Columns<T>& t, T leak) {
  by_rows<2>(
      chunk,
      [&]<int kRows>(const int64_t* at) {
        if (dx && add_dx)
          gradient_of_rows<kind, masked, true, kRows>(dy, x, mask, dx, at, chunk.width, t.high, t.scale, t.shift,
                                                      t.slope, t.offset, leak);
        else if (dx)
          gradient_of_rows<kind, masked, false, kRows>(dy, x, mask, dx, at, chunk.width, t.high, t.scale, t.shift,
                                                       t.slope, t.offset, leak);
        for (int r = 0; dresidual && r < kRows; ++r)
          residual_gradient_of_row<kind, masked>(dy + at[r], x + at[r], masked ? mask + at[r] : nullptr,
                                                 dresidual + at[r], add_dresidual, chunk.width, t.high, t.scale,
                                                 t.shift, leak);
      },
      x, dy);
}

}  // namespace norma::norm_rows
