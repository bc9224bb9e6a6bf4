// The element loops of the norm family on the CPU: everything that reads or writes an element is in this file, and
// knows rows of channels but nothing of groupings. ops/norm_cpu.cc decides which rows go together.
//
// Rows of fewer than 64 channels are read as one row of `width` = U * C "columns" at a time, U rows wide, with
// per-channel tables repeated U times: so any C fills vector registers, and the loops over columns need no
// reassociation to vectorise.
#pragma once

#include <cmath>

#include "norma/core/memory.h"
#include "norma/ops/norm.h"

namespace norma::norm_rows {

inline constexpr int64_t kMinWidth = 64;   // columns
inline constexpr int64_t kChunkRows = 64;  // wide rows summed in T before the sums go on in double

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

// Adds rows of x [rows, C] to the moments. Within a chunk, deviations from its first row are summed in T: exact where
// the mean is large against the deviation. `scratch`: 3 * width.
template <class T>
void add_moments(const T* __restrict x, int64_t rows, int64_t channels, ChannelMoments& moments,
                 T* __restrict scratch) {
  const int64_t unit = rows_per_wide_row(channels);
  while (rows > 0) {
    const int64_t wide = rows >= unit ? unit : 1, width = wide * channels, n = std::min(rows / wide, kChunkRows);
    T* __restrict shift = scratch, * __restrict sum = scratch + width, * __restrict square = scratch + 2 * width;
    for (int64_t j = 0; j < width; ++j) {
      shift[j] = x[j];
      sum[j] = square[j] = 0;
    }
    int64_t r = 1;
    for (; r + 4 <= n; r += 4) {
      const T* __restrict row = x + r * width;
      for (int64_t j = 0; j < width; ++j) {
        const T a = row[j] - shift[j], b = row[j + width] - shift[j], c = row[j + 2 * width] - shift[j],
                d = row[j + 3 * width] - shift[j];
        sum[j] += (a + b) + (c + d);
        square[j] += (a * a + b * b) + (c * c + d * d);
      }
    }
    for (; r < n; ++r) {
      const T* __restrict row = x + r * width;
      for (int64_t j = 0; j < width; ++j) {
        const T a = row[j] - shift[j];
        sum[j] += a;
        square[j] += a * a;
      }
    }
    for (int64_t u = 0; u < wide * channels; u += channels)
      moments.merge_shifted(channels, static_cast<double>(n), shift + u, sum + u, square + u);
    x += n * width;
    rows -= n * wide;
  }
}

// What a set of rows needs of its cells, a column each: normalized value = (x - high) * scale + shift. `high` is the
// mean rounded to T, so the difference keeps its digits; what the rounding left is in `shift`.
template <class T>
struct Columns {
  const T* __restrict high;
  const T* __restrict scale;
  const T* __restrict shift;
  // Of the gradient: dx = scale * dy - (x - high) * slope - offset.
  const T* __restrict slope = nullptr;
  const T* __restrict offset = nullptr;
};

template <Activation::Kind kind, class T>
void apply(const T* __restrict x, const T* __restrict residual, T* __restrict y, uint8_t* __restrict mask, int64_t rows,
           int64_t width, const Columns<T>& columns, T leak) {
  const T* __restrict high = columns.high, * __restrict scale = columns.scale, * __restrict shift = columns.shift;
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    if (!residual) {
      for (int64_t j = 0; j < width; ++j) y[j] = activate<kind>((x[j] - high[j]) * scale[j] + shift[j], leak);
    } else if (!mask) {
      for (int64_t j = 0; j < width; ++j)
        y[j] = activate<kind>((x[j] - high[j]) * scale[j] + shift[j] + residual[j], leak);
      residual += width;
    } else {
      for (int64_t j = 0; j < width; ++j) {
        const T v = (x[j] - high[j]) * scale[j] + shift[j] + residual[j];
        y[j] = activate<kind>(v, leak);
        mask[j] = v > 0;
      }
      residual += width;
      mask += width;
    }
  }
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

// sum += dy, sum_x += dy * (x - high), a column each, over `rows` wide rows.
template <Activation::Kind kind, bool masked, class T>
void add_sums(const T* __restrict dy, const T* __restrict x, const uint8_t* __restrict mask, int64_t rows,
              int64_t width, const Columns<T>& columns, T leak, T* __restrict sum, T* __restrict sum_x) {
  const T* __restrict high = columns.high, * __restrict scale = columns.scale, * __restrict shift = columns.shift;
  const auto add = [&]<int kRows>() {
    for (int64_t j = 0; j < width; ++j) {
      const T h = high[j], sc = scale[j], sh = shift[j];
      T s = 0, sx = 0;
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const T v = x[j + r * width];
        const T d =
            behind<kind, masked>(dy[j + r * width], v, masked ? mask[j + r * width] : uint8_t{0}, h, sc, sh, leak);
        s += d;
        sx += d * (v - h);
      }
      sum[j] += s;
      sum_x[j] += sx;
    }
    dy += kRows * width;
    x += kRows * width;
    if constexpr (masked) mask += kRows * width;
  };
  for (; rows >= 4; rows -= 4) add.template operator()<4>();
  for (; rows > 0; --rows) add.template operator()<1>();
}

// dx (+)= scale * d - (x - high) * slope - offset, and the residual's gradient (+)= d, d being dy behind the
// activation.
template <Activation::Kind kind, bool masked, class T>
void apply_gradient(const T* __restrict dy, const T* __restrict x, const uint8_t* __restrict mask, T* __restrict dx,
                    bool add_dx, T* __restrict dresidual, bool add_dresidual, int64_t rows, int64_t width,
                    const Columns<T>& columns, T leak) {
  const T *__restrict high = columns.high, *__restrict scale = columns.scale, *__restrict shift = columns.shift,
                      *__restrict slope = columns.slope, *__restrict offset = columns.offset;
  for (int64_t r = 0; r < rows; ++r) {
    const auto d = [&](int64_t j) {
      return behind<kind, masked>(dy[j], x[j], masked ? mask[j] : uint8_t{0}, high[j], scale[j], shift[j], leak);
    };
    const auto gradient = [&](int64_t j) { return scale[j] * d(j) - (x[j] - high[j]) * slope[j] - offset[j]; };
    if (dx && add_dx) {
      for (int64_t j = 0; j < width; ++j) dx[j] += gradient(j);
    } else if (dx) {
      for (int64_t j = 0; j < width; ++j) dx[j] = gradient(j);
    }
    if (dresidual && add_dresidual) {
      for (int64_t j = 0; j < width; ++j) dresidual[j] += d(j);
    } else if (dresidual) {
      for (int64_t j = 0; j < width; ++j) dresidual[j] = d(j);
    }
    dy += width;
    x += width;
    if constexpr (masked) mask += width;
    if (dx) dx += width;
    if (dresidual) dresidual += width;
  }
}

}  // namespace norma::norm_rows
