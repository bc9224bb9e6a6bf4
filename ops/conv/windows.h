// What direct and depthwise convolution read, and where they write. For a strip of output pixels a table says where in
// the input each row of their windows begins:
//
//     strip of output pixels:     0      1      2      3   ...
//     row 0 of the window       |zeros|zeros|zeros|zeros|       above the image: a row of zeros
//     row 1                     |patch|  *--|  *--|  *--|-->    * the kw x C values there, in the image itself
//     row 2                     |patch|  *--|  *--|  *--|       patch: a copy with zeros, where they stick out of it
//
// The kw pixels of a window's row are neighbours in memory, so they count as kw x C channels of one *run*; with
// dilation they are not, and then each tap is a run of its own. The gradient of the input is such a convolution too, of
// dy: with stride s, the pixels of dx fall into s x s phases, each with taps of its own.
#pragma once

#include <span>
#include <vector>

#include "norma/core/scratch.h"
#include "norma/core/simd/vectors.h"
#include "norma/ops/conv/epilogue.h"

NORMA_SIMD_BEGIN

inline constexpr int64_t kStrip = 96;  // pixels; a multiple of the rows of every register tile

// One axis of a kernel: the input pixel that a tap reads, from the window's origin, and the tap's index in the weight.
struct Tap {
  int64_t offset, index;
};
using Taps = std::vector<Tap>;

// For y = conv(x), with windows that begin at multiples of the stride.
inline Taps forward_taps(const WindowAxis& axis) {
  Taps taps;
  for (int64_t k = 0; k < axis.kernel; ++k) taps.push_back({axis.input(0, k), k});
  return taps;
}
// For those pixels of dx that are at `phase` modulo the stride: their windows over dy.
inline Taps backward_input_taps(const WindowAxis& axis, int64_t phase) {
  Taps taps;
  for (int64_t k = axis.kernel - 1; k >= 0; --k)
    if (const int64_t y = phase - axis.input(0, k); y % axis.stride == 0) taps.push_back({y / axis.stride, k});
  return taps;
}

// A grid of n x rows x columns windows over images x; that at (i, j) has its origin at (i, j) * stride.
struct Windows {
  // With one group, taps that are neighbours in a row of x become one run.
  Windows(const ConvGeometry& g, const float* data, const Images& size, Pair steps, Pair grid, const Taps& ys,
          const Taps& xs)
      : x(data), in(size), stride(steps), n(g.n), rows(grid.h), columns(grid.w) {
    bool merge = g.groups == 1;
    for (size_t i = 1; i < xs.size(); ++i) merge = merge && xs[i].offset == xs[i - 1].offset + 1;
    width = merge ? std::ssize(xs) : 1;
    for (const Tap& y : ys)
      for (size_t i = 0; i < xs.size(); ++i) {
        if (!merge || i == 0) runs.push_back({y.offset, xs[i].offset});
        taps.push_back({0, y.index * g.kw + xs[i].index});
      }
  }
  int64_t size() const { return std::ssize(runs); }
  int64_t length() const { return width * in.c; }  // floats of a run
  int64_t count() const { return n * rows * columns; }
  // The part of x that the windows [first, first + number) see and none before them, roughly.
  Prefetch<> pixels(int64_t first, int64_t number) const {
    const int64_t below = runs.empty() ? 0 : runs.back().h * in.w * in.c;
    return {x + below, n * in.h * in.w * in.c, first, number, count()};
  }

  const float* x;
  Images in;
  Pair stride;
  int64_t n, rows, columns;
  int64_t width;           // pixels of a run
  std::vector<Pair> runs;  // where each begins, from the window's origin
  Taps taps;               // of all runs, in their order: the index in the kernel
};

// The windows of y over x.
inline Windows forward_windows(const ConvGeometry& g, const float* x) {
  return {g, x, {g.h, g.w, g.c}, g.stride, {g.oh, g.ow}, forward_taps(g.rows()), forward_taps(g.columns())};
}

// The windows over dy of those pixels of dx that are at `phase` modulo the stride.
inline Windows backward_input_windows(const ConvGeometry& g, const float* dy, Pair phase) {
  const Pair grid = {(g.h - phase.h - 1) / g.stride.h + 1, (g.w - phase.w - 1) / g.stride.w + 1};
  const Taps ys = backward_input_taps(g.rows(), phase.h), xs = backward_input_taps(g.columns(), phase.w);
  return {g, dy, {g.oh, g.ow, g.oc}, 1, grid, ys, xs};
}

// The table of a strip of windows.
class Strip {
  static constexpr int64_t kPointer = sizeof(void*) / sizeof(float);

 public:
  explicit Strip(const Windows& windows) : windows_(windows) { std::fill_n(zeros_, windows.length(), 0.F); }

  // Floats of memory.
  static int64_t size(const Windows& windows) {
    const int64_t patches = windows.width > 1 ? windows.size() * kStrip : 0;
    return windows.size() * kStrip * kPointer + (1 + patches) * windows.length();
  }

  // For each pixel of the strip, where run i begins.
  const float* const* run(int64_t i) const { return table_ + i * kStrip; }

  // Fills the table for the windows [begin, begin + count). Calls f(i, image, row, column, pixels) for the strip's
  // pixels [i, i + pixels), all of one row of the grid. Runs of pixels from `count` on are zeros.
  template <class F>
  void look_at(int64_t begin, int64_t count, F&& f) {
    float* patch = zeros_ + windows_.length();
    const int64_t area = windows_.rows * windows_.columns;
    for (int64_t i = 0, n; i < count; i += n) {
      const int64_t image = (begin + i) / area, row = (begin + i) % area / windows_.columns;
      const int64_t column = (begin + i) % windows_.columns;
      n = std::min(count - i, windows_.columns - column);
      f(i, image, row, column, n);
      for (int64_t run = 0; run < windows_.size(); ++run) patch = look_at(run, i, image, row, column, n, patch);
    }
    for (int64_t run = 0; run < windows_.size(); ++run)
      std::fill_n(table_ + run * kStrip + count, kStrip - count, zeros_);
  }

 private:
  // One run of n pixels of one row. New patches begin at `patch`; returns where they end.
  float* look_at(int64_t run, int64_t i, int64_t image, int64_t row, int64_t column, int64_t n, float* patch) {
    const int64_t h = windows_.in.h, w = windows_.in.w, c = windows_.in.c;
    const float** to = table_ + run * kStrip + i;
    const int64_t y = row * windows_.stride.h + windows_.runs[run].h, width = windows_.width, step = windows_.stride.w;
    if (y < 0 || y >= h) return std::fill_n(to, n, zeros_), patch;
    const int64_t x = column * step + windows_.runs[run].w;
    const float* line = windows_.x + (image * h + y) * w * c;
    // The windows [first, last) are inside of the image.
    const int64_t first = x >= 0 ? 0 : std::min(n, (-x + step - 1) / step);
    const int64_t last = x > w - width ? first : std::clamp((w - width - x) / step + 1, first, n);
    for (int64_t j = first; j < last; ++j) to[j] = line + (x + j * step) * c;
    const auto outside = [&](int64_t j) {
      const int64_t left = x + j * step, from = (std::max<int64_t>(left, 0) - left) * c;
      const int64_t end = (std::min(left + width, w) - left) * c, length = width * c;
      to[j] = from < end ? patch : zeros_;
      if (from >= end) return;
      const float* source = line + left * c;
      if (length < 64)  // not worth three calls
        for (int64_t k = 0; k < length; ++k) patch[k] = k >= from && k < end ? source[k] : 0;
      else std::fill_n(std::copy_n(source + from, end - from, std::fill_n(patch, from, 0.F)), length - end, 0.F);
      patch += length;
    };
    for (int64_t j = 0; j < first; ++j) outside(j);
    for (int64_t j = last; j < n; ++j) outside(j);
    return patch;
  }

  const Windows& windows_;
  const Scratch memory_{size(windows_)};
  const float** table_ = reinterpret_cast<const float**>(static_cast<float*>(memory_));  // [run][pixel]
  float* zeros_ = memory_ + windows_.size() * kStrip * kPointer;                         // a run; then the patches
};

// The weight as strides between taps, channels of the input and of the output.
struct Filters {
  const float* data;
  int64_t tap, channel, filter;
};

// The weight, packed group after group, a group being the vectors of output channels that a register tile covers:
// [tap][channel][vector of the group][lane].
inline void pack(const Filters& w, const Windows& windows, int64_t channels, std::span<const Range> groups,
                 int64_t filters, float* packed) {
  constexpr int64_t kBlock = 64;  // channels; cache lines, where they are neighbours
  const int64_t blocks = (channels + kBlock - 1) / kBlock, taps = std::ssize(windows.taps);
  const int64_t most = groups.empty() ? 1 : groups[0].size() * kLanes;
  parallel_each(std::ssize(groups) * taps * blocks, 1 + 4096 / (kBlock * most), [&](int64_t item) {
    const Range& group = groups[item / (taps * blocks)];
    const int64_t tap = item / blocks % taps, c = item % blocks * kBlock, size = std::min(kBlock, channels - c);
    const int64_t wide = group.size() * kLanes, first = group.begin * kLanes, n = std::min(wide, filters - first);
    const float* from = w.data + windows.taps[tap].index * w.tap + c * w.channel;
    float* to = packed + first * taps * channels + (tap * channels + c) * wide;
    if (w.filter == 1)
      for (int64_t i = 0; i < size; ++i) std::copy_n(from + i * w.channel + first, n, to + i * wide);
    else
      for (int64_t k = 0; k < n; ++k) {
        if (w.channel == 1 && k + 4 < n) prefetch(from + (first + k + 4) * w.filter, size);  // short and far apart
        for (int64_t i = 0; i < size; ++i) to[i * wide + k] = from[i * w.channel + (first + k) * w.filter];
      }
    for (int64_t i = 0; i < size && n < wide; ++i) std::fill(to + i * wide + n, to + (i + 1) * wide, 0.F);
  });
}

// Where a convolution of windows goes: pixel (i, j) of the grid to (i, j) * step + first of images y.
struct Output {
  float* y;
  Images size;
  Pair first, step;
  bool add;
  const ConvEpilogue* after = nullptr;

  bool pools() const { return after && after->max_pool; }
};

NORMA_SIMD_END
