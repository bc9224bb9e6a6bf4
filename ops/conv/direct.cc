// Nothing is copied to make matrices of windows: for a strip of output pixels a table says where in the input each
// row of their windows begins,
//
//     strip of output pixels:     0      1      2      3   ...
//     row 0 of the window       |zeros|zeros|zeros|zeros|       above the image: a row of zeros
//     row 1                     |patch|  *--|  *--|  *--|-->    * the kw x C values there, in the image itself
//     row 2                     |patch|  *--|  *--|  *--|       patch: a copy with zeros, where they stick out of it
//
// and from there on it is products of a register tile: R pixels x K vectors of output channels. The kw pixels of a
// window's row are neighbours in memory, so they count as kw x C channels of one *run*; with dilation they are not, and
// then each tap is a run of its own. The data gradient is such a convolution too, of dy: with stride s, the pixels of
// dx fall into s x s phases, each with taps of its own. The weight gradient has the same table, and a register tile of
// weights, summed over the strip. Depthwise, vectors of channels are multiplied one by one, not with every filter.
#include <span>
#include <vector>

#include "norma/core/simd/vectors.h"
#include "norma/ops/conv/epilogue.h"

NORMA_SIMD_BEGIN
namespace {

constexpr int64_t kStrip = 96;                // pixels; a multiple of every R below
constexpr int64_t kTaskWork = 1 << 18;        // multiply-adds that are worth waking a thread
constexpr int64_t kSlotPixels = 512;          // pixels that a slot of the weight gradient should have, and
constexpr int64_t kBufferElements = 5 << 20;  // elements of the gradient that all slots may have

// R for K vectors: each pixel takes a pointer's register, too. And that of the weight gradient, which takes one for
// all.
constexpr int strip_rows(int k) {
  return kRegisters == 32 ? (k == 1 ? 12 : k == 4 ? 6 : 8) : (k == 1 ? 8 : k == 2 ? 6 : 4);
}
constexpr int weight_rows(int k) { return kRegisters == 32 ? (k == 1 ? 16 : 24 / k) : 12 / k; }

struct Run {
  int64_t y, x;  // where it begins, from the window's origin
};
struct Tap {
  int64_t offset, index;  // of the input's pixel from the window's origin; in the kernel
};
using Taps = std::vector<Tap>;

// Of one axis, for y = conv(x); and for those pixels of dx that are at `phase` modulo stride.
Taps forward_taps(int64_t size, int64_t dilation, int64_t padding) {
  Taps taps;
  for (int64_t k = 0; k < size; ++k) taps.push_back({k * dilation - padding, k});
  return taps;
}
Taps data_taps(int64_t size, int64_t dilation, int64_t padding, int64_t stride, int64_t phase) {
  Taps taps;
  for (int64_t k = size - 1; k >= 0; --k)
    if (const int64_t y = phase + padding - k * dilation; y % stride == 0) taps.push_back({y / stride, k});
  return taps;
}

// A grid of n x rows x columns windows over images x; that at (i, j) has its origin at (i, j) * stride.
struct Windows {
  Windows(const float* data, const Images& size, Pair steps, const Taps& ys, const Taps& xs, int64_t kernel_width,
          bool merge)
      : x(data), in(size), stride(steps) {
    for (size_t i = 1; i < xs.size(); ++i) merge = merge && xs[i].offset == xs[i - 1].offset + 1;
    width = merge ? static_cast<int64_t>(xs.size()) : 1;
    for (const Tap& y : ys)
      for (size_t i = 0; i < xs.size(); ++i) {
        if (!merge || i == 0) runs.push_back({y.offset, xs[i].offset});
        taps.push_back({0, y.index * kernel_width + xs[i].index});
      }
  }
  int64_t size() const { return static_cast<int64_t>(runs.size()); }
  int64_t length() const { return width * in.c; }  // of a run
  // Asks for the part of x that the windows [first, first + n) see and none before them, roughly: x is used up evenly.
  void fetch(int64_t first, int64_t count) const {
    const double rate = static_cast<double>(in.h * in.w * in.c) / static_cast<double>(rows * columns);
    const int64_t below = runs.empty() ? 0 : runs.back().y * in.w * in.c;
    prefetch(x + static_cast<int64_t>(static_cast<double>(first) * rate) + below,
             static_cast<int64_t>(static_cast<double>(count) * rate) + 1);
  }

  const float* x;
  Images in;
  Pair stride;
  int64_t n = 0, rows = 0, columns = 0;
  int64_t width;  // pixels of a run
  std::vector<Run> runs;
  std::vector<Tap> taps;  // of all runs, in their order: the index in the kernel
};

// The table of a strip of windows, and where in y their pixels are.
class Strip {
  static constexpr int64_t kPointer = sizeof(void*) / sizeof(float);

 public:
  explicit Strip(const Windows& windows)
      : windows_(windows),
        memory_(size(windows)),
        table_(reinterpret_cast<const float**>(static_cast<float*>(memory_))),
        zeros_(memory_ + windows.size() * kStrip * kPointer) {
    std::fill_n(zeros_, windows.length(), 0.F);
  }

  // Floats of memory.
  static int64_t size(const Windows& windows) {
    const int64_t patches = windows.width > 1 ? windows.size() * kStrip : 0;
    return windows.size() * kStrip * kPointer + (1 + patches) * windows.length();
  }

  const float* const* run(int64_t i) const { return table_ + i * kStrip; }

  // f(i, image, row, column, pixels) is called for strip pixels [i, i + pixels) of one row of the grid.
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
  float* look_at(int64_t run, int64_t i, int64_t image, int64_t row, int64_t column, int64_t n, float* patch) {
    const auto& [h, w, c] = windows_.in;
    const float** to = table_ + run * kStrip + i;
    const int64_t y = row * windows_.stride.h + windows_.runs[run].y, width = windows_.width, step = windows_.stride.w;
    if (y < 0 || y >= h) return std::fill_n(to, n, zeros_), patch;
    const int64_t x = column * step + windows_.runs[run].x;
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
  const Scratch memory_;
  const float** table_;  // [run][pixel]
  float* zeros_;         // of a run; behind it are the patches
};

// Where the results go: pixel (i, j) of the grid to (i, j) * step + first of images y.
struct Output {
  float* y;
  Images size;
  Pair first, step;
  bool add;
  const ConvEpilogue* after = nullptr;
};

// Vector k of n channels.
NORMA_INLINE inline Vec load_part(const float* p, int k, int64_t n) {
  return load(p + k * kLanes, std::min<int64_t>(kLanes, n - k * kLanes));
}

// sum[r][k] = bias + the products of pixels [t, t + R) of the strip with K vectors of filters. w [run][channel][k].
template <int R, int K>
NORMA_INLINE inline void dense_products(Vec (&sum)[R][K], const Windows& windows, const Strip& strip, int64_t t,
                                        const float* w) {
  for (int64_t run = 0; run < windows.size(); ++run) {
    const float* p[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) p[r] = strip.run(run)[t + r];
    for (int64_t i = 0; i < windows.length(); ++i, w += K * kLanes)
      add_products(
          sum, [&](int r) NORMA_INLINE { return p[r][i]; }, [&](int k) NORMA_INLINE { return load(w + k * kLanes); });
  }
}

// The same with K vectors of channels, of which there are n. w [run][channel].
template <int R, int K>
NORMA_INLINE inline void depthwise_products(Vec (&sum)[R][K], const Windows& windows, const Strip& strip, int64_t t,
                                            const float* w, int64_t channel, int64_t n) {
  const auto run = [&](auto&& get) NORMA_INLINE {
    for (int64_t i = 0; i < windows.size(); ++i, w += vectors(windows.in.c) * kLanes) {
      const float* const* p = strip.run(i) + t;
      for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { s += get(p[r] + channel, k) * load(w + k * kLanes); });
    }
  };
  if (n >= K * kLanes) run([](const float* q, int k) NORMA_INLINE { return load(q + k * kLanes); });
  else run([n](const float* q, int k) NORMA_INLINE { return load_part(q, k, n); });
}

// The weight as strides between taps, channels of the input and of the output.
struct Filters {
  const float* data;
  int64_t tap, channel, filter;
};

// Vectors of output channels that a register tile covers.
struct Group {
  int64_t first, count;
};

// Packed, group after group: [tap][channel][k].
void pack(const Filters& w, const Windows& windows, int64_t channels, std::span<const Group> groups, int64_t filters,
          float* packed) {
  constexpr int64_t kBlock = 64;  // channels; cache lines, where they are neighbours
  const int64_t blocks = (channels + kBlock - 1) / kBlock, taps = static_cast<int64_t>(windows.taps.size());
  const int64_t most = groups.empty() ? 1 : groups[0].count * kLanes;
  parallel_for(std::ssize(groups) * taps * blocks, 1 + 4096 / (kBlock * most), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const Group& group = groups[static_cast<size_t>(item / (taps * blocks))];
      const int64_t tap = item / blocks % taps, c = item % blocks * kBlock, size = std::min(kBlock, channels - c);
      const int64_t wide = group.count * kLanes, first = group.first * kLanes, n = std::min(wide, filters - first);
      const float* from = w.data + windows.taps[static_cast<size_t>(tap)].index * w.tap + c * w.channel;
      float* to = packed + first * taps * channels + (tap * channels + c) * wide;
      if (w.filter == 1)
        for (int64_t i = 0; i < size; ++i) std::copy_n(from + i * w.channel + first, n, to + i * wide);
      else
        for (int64_t k = 0; k < n; ++k) {
          if (w.channel == 1 && k + 4 < n) prefetch(from + (first + k + 4) * w.filter, size);  // short and far apart
          for (int64_t i = 0; i < size; ++i) to[i * wide + k] = from[i * w.channel + (first + k) * w.filter];
        }
      for (int64_t i = 0; i < size && n < wide; ++i) std::fill(to + i * wide + n, to + (i + 1) * wide, 0.F);
    }
  });
}

// Where a max-pooled pixel goes, if anywhere.
struct Pooled {
  float* to;
  bool first;  // of its window
};

// The epilogue of `count` pixels that are still in the cache, for the vectors [begin, end) of channels.
void finish(const Output& out, float* const* to, const Pooled* pooled, int64_t count, int64_t begin, int64_t end) {
  with_epilogue(*out.after, [&]<class E>() {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t channel = b * kLanes, n = out.size.c - channel;
      const E finish(*out.after, out.y, channel, n);
      for (int64_t i = 0; i < count; ++i) {
        float* p = to[i] + channel;
        const Vec value = n < kLanes ? load(p, n) : load(p);
        if (!out.after->max_pool) finish(p, value);
        else if (pooled[i].to) finish.pool(pooled[i].to + channel, value, pooled[i].first);
      }
    }
  });
}

// y (+)= bias + the convolution with w.
template <bool depthwise>
void convolve(const Windows& windows, const Filters& w, const float* bias, const Output& out) {
  // Of max-pooled images each is one thread's, and its strips go one after the other.
  const bool pools = out.after && out.after->max_pool;
  const int64_t area = windows.rows * windows.columns * (pools ? 1 : windows.n), per = (area + kStrip - 1) / kStrip;
  const int64_t strips = per * (pools ? windows.n : 1), bundle = pools ? per : 1;
  const int64_t k = vectors(out.size.c), taps = static_cast<int64_t>(windows.taps.size());
  const int64_t channels = depthwise ? 1 : windows.in.c, depth = taps * channels;
  const int64_t parts =
      depthwise ? 1 : std::clamp<int64_t>(8 / std::max<int64_t>(1, strips), 1, (k + kMaxVectors - 1) / kMaxVectors);
  const Scratch packed(depth * k * kLanes), offset(k * kLanes);
  std::fill_n(static_cast<float*>(offset), k * kLanes, 0.F);
  if (bias) std::copy_n(bias, out.size.c, static_cast<float*>(offset));
  std::vector<Group> groups;
  if (depthwise) groups.push_back({0, k});
  for (int64_t part = 0; part < parts && !depthwise; ++part)
    for_groups(k * part / parts, k * (part + 1) / parts, [&]<int K>(int64_t group) { groups.push_back({group, K}); });
  pack(w, windows, channels, groups, out.size.c, packed);
  reserve(Strip::size(windows), pools ? kStrip * out.size.c : 1);
  // The runs that windows above have not seen, and how much of one no window to the left has.
  const int64_t fresh = std::min(windows.width, windows.stride.w) * windows.in.c;
  const int64_t fresh_runs = std::max<int64_t>(0, windows.size() - (windows.width > 1 ? windows.stride.h : 1));
  parallel_for(
      strips * parts / std::max<int64_t>(1, bundle),
      kTaskWork / (kStrip * (depth + 1) * k * kLanes * bundle / parts + 1) + 1, [&](int64_t begin, int64_t end) {
        Strip strip(windows);
        const Scratch unpooled(pools ? kStrip * out.size.c : 0);
        float* to[kStrip];
        Pooled pooled[kStrip];
        for (int64_t item = begin * bundle; item < end * bundle; ++item) {
          const int64_t part = item / strips, start = item % per * kStrip;
          const int64_t first = item % strips / per * area + start, count = std::min(kStrip, area - start);
          strip.look_at(first, count, [&](int64_t i, int64_t image, int64_t row, int64_t column, int64_t n) {
            const int64_t height = windows.rows / 2, width = windows.columns / 2;
            for (int64_t j = 0; j < n && pools; ++j) {
              const int64_t x = column + j;
              float* pool = out.y + ((image * height + row / 2) * width + x / 2) * out.size.c;
              pooled[i + j] = {row / 2 < height && x / 2 < width ? pool : nullptr, (row | x) % 2 == 0};
              to[i + j] = unpooled + (i + j) * out.size.c;
            }
            if (pools) return;
            float* line = out.y + (image * out.size.h + row * out.step.h + out.first.h) * out.size.w * out.size.c;
            for (int64_t j = 0; j < n; ++j) to[i + j] = line + ((column + j) * out.step.w + out.first.w) * out.size.c;
          });
          const int64_t first_group = k * part / parts;
          for_groups(first_group, k * (part + 1) / parts, [&]<int K>(int64_t group) {
            constexpr int R = depthwise ? tile_rows(4) : strip_rows(K);
            const int64_t channel = group * kLanes, n = out.size.c - channel;
            for (int64_t t = 0; t < count; t += R) {
              for (int64_t run = fresh_runs; run < windows.size() && group == first_group && t + R < count; ++run)
                prefetch(strip.run(run)[t + R], R * fresh);
              Vec sum[R][K];
              for_tile(sum, [&](Vec& s, int, int i) NORMA_INLINE { s = load(offset + channel + i * kLanes); });
              if constexpr (depthwise) depthwise_products(sum, windows, strip, t, packed + channel, channel, n);
              else dense_products(sum, windows, strip, t, packed + channel * depth);
              for_tile(sum, [&](Vec& s, int r, int i) NORMA_INLINE {
                if (t + r < count) write(to[t + r] + channel + i * kLanes, s, n - i * kLanes, out.add);
              });
            }
          });
          if (out.after) finish(out, to, pooled, count, first_group, k * (part + 1) / parts);
        }
      });
}

// Calls f.operator()<R>() with R = rows <= most.
template <int most, class F>
void with_rows(int64_t rows, F&& f) {
  if constexpr (most > 1)
    if (rows < most) return with_rows<most - 1>(rows, f);
  f.template operator()<most>();
}

// dw[i][k] += the sum over the strip of p[t][i] dy[t][k], for K vectors of k.
template <int K, class F>
void dense_gradient(const float* const* p, int64_t length, int64_t count, const float* dy, int64_t stride, float* dw,
                    F&& fetch) {
  const int64_t blocks = (length + weight_rows(K) - 1) / weight_rows(K);
  for (int64_t block = 0; block < blocks; ++block) {
    fetch(block, blocks);
    const int64_t first = length * block / blocks;
    with_rows<weight_rows(K)>(length * (block + 1) / blocks - first, [&]<int R>() {
      Vec sum[R][K];
      float* to = dw + first * K * kLanes;
      for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { s = load(to + (r * K + k) * kLanes); });
      for (int64_t t = 0; t < count; ++t) {
        const float* from = p[t] + first;
        asm("" : "+r"(from));  // else GCC keeps an index register for each of the R rows
        add_products(
            sum, [from](int r) NORMA_INLINE { return from[r]; },
            [row = dy + t * stride](int k) NORMA_INLINE { return load(row + k * kLanes); });
      }
      for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { store(to + (r * K + k) * kLanes, s); });
    });
  }
}

// dw[k] += the sum over the strip of p[t][channel + k] dy[t][k], for K vectors of k, of which there are n channels.
template <int K>
void depthwise_gradient(const float* const* p, int64_t channel, int64_t n, const float* dy, int64_t stride, float* dw) {
  Vec sum[2][K];  // of every other pixel
  for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { s = r == 0 ? load(dw + k * kLanes) : Vec{}; });
  const auto run = [&](auto&& get) NORMA_INLINE {
    for (int64_t t = 0; t < kStrip; t += 2, dy += 2 * stride)
      for_tile(sum, [&](Vec& s, int r, int k)
                        NORMA_INLINE { s += get(p[t + r] + channel, k) * load(dy + r * stride + k * kLanes); });
  };
  if (n >= K * kLanes) run([](const float* q, int k) NORMA_INLINE { return load(q + k * kLanes); });
  else run([n](const float* q, int k) NORMA_INLINE { return load_part(q, k, n); });
  for (int k = 0; k < K; ++k) store(dw + k * kLanes, sum[0][k] + sum[1][k]);
}

// dw (+)= its gradient, where that is added up in slots of strips.
template <bool depthwise>
void gradient(const Windows& windows, const float* dy, int64_t filters, float* dw, bool add) {
  const int64_t pixels = windows.n * windows.rows * windows.columns, strips = (pixels + kStrip - 1) / kStrip;
  const int64_t k = vectors(filters), depth = windows.size() * (depthwise ? 1 : windows.length());
  const int64_t size = depth * k * kLanes;
  const int64_t slots =
      std::clamp<int64_t>(pixels / kSlotPixels, 1, std::clamp<int64_t>(kBufferElements / size, 1, 16));
  const int64_t parts = depthwise ? 1 : std::clamp<int64_t>(8 / slots, 1, std::max<int64_t>(1, k / kMaxVectors));
  const Scratch buffer(slots * size);
  const int64_t size_padded = kStrip * k * kLanes;
  reserve(Strip::size(windows), size_padded);
  parallel_slots(static_cast<int>(slots * parts), [&](int64_t item) {
    const int64_t slot = item % slots, part = item / slots, from = k * part / parts, to = k * (part + 1) / parts;
    float* const sums = buffer + slot * size;
    std::fill(sums + from * depth * kLanes, sums + to * depth * kLanes, 0.F);
    Strip strip(windows);
    const Scratch padded(size_padded);
    for (int64_t i = strips * slot / slots; i < strips * (slot + 1) / slots; ++i) {
      const int64_t first = i * kStrip, count = std::min(kStrip, pixels - first);
      strip.look_at(first, count, [](auto...) {});
      const float* rows = dy + first * filters;
      if (filters % kLanes || count < kStrip) {
        std::fill_n(static_cast<float*>(padded), size_padded, 0.F);
        for (int64_t t = 0; t < count; ++t) std::copy_n(rows + t * filters, filters, padded + t * k * kLanes);
        rows = padded;
      }
      for_groups(from, to, [&]<int K>(int64_t group) {
        for (int64_t run = 0; run < windows.size(); ++run) {
          const float* const* p = strip.run(run);
          const float* group_rows = rows + group * kLanes;
          // A share of what the next strip reads.
          const auto fetch = [&](int64_t share, int64_t shares) {
            if (group > 0) return;
            const int64_t start = kStrip * (run * shares + share) / (windows.size() * shares);
            const int64_t end = kStrip * (run * shares + share + 1) / (windows.size() * shares);
            windows.fetch(first + kStrip + start, end - start);
            prefetch(dy + (first + kStrip + start) * filters, (end - start) * filters);
          };
          if constexpr (depthwise)
            fetch(0, 1), depthwise_gradient<K>(p, group * kLanes, filters - group * kLanes, group_rows, k * kLanes,
                                               sums + (run * k + group) * kLanes);
          else
            dense_gradient<K>(p, windows.length(), count, group_rows, k * kLanes,
                              sums + (group * depth + run * windows.length() * K) * kLanes, fetch);
        }
      });
    }
  });
  // sums is [group][depth][vector of the group], depthwise with all vectors in one. In blocks that are turned round.
  constexpr int64_t kBlock = 16;
  const auto merge = [&](int64_t group, int64_t count) {
    parallel_for((depth + kBlock - 1) / kBlock, 1 + 4096 / (slots * kBlock * count * kLanes),
                 [&](int64_t begin, int64_t end) {
                   float block[kBlock][kLanes];
                   for (int64_t i = begin * kBlock; i < std::min(end * kBlock, depth); i += kBlock)
                     for (int64_t v = 0; v < count; ++v) {
                       const int64_t first = (group + v) * kLanes, n = std::min<int64_t>(kLanes, filters - first);
                       const int64_t rows = std::min(kBlock, depth - i);
                       for (int64_t row = 0; row < rows; ++row) {
                         const float* from = buffer + (group * depth + (i + row) * count + v) * kLanes;
                         Vec sum{};
                         for (int64_t slot = 0; slot < slots; ++slot) sum += load(from + slot * size);
                         store(block[row], sum);
                       }
                       for (int64_t lane = 0; lane < n; ++lane)
                         for (int64_t row = 0; row < rows; ++row) {
                           float& to = dw[(first + lane) * depth + i + row];
                           to = add ? to + block[row][lane] : block[row][lane];
                         }
                     }
                 });
  };
  if (depthwise) merge(0, k);
  for (int64_t part = 0; part < parts && !depthwise; ++part)
    for_groups(k * part / parts, k * (part + 1) / parts, [&]<int K>(int64_t group) { merge(group, K); });
}

Windows forward_windows(const ConvGeometry& g, const float* x) {
  Windows windows(x, {g.h, g.w, g.c}, g.stride, forward_taps(g.kh, g.dilation.h, g.padding.h),
                  forward_taps(g.kw, g.dilation.w, g.padding.w), g.kw, g.groups == 1);
  windows.n = g.n, windows.rows = g.oh, windows.columns = g.ow;
  return windows;
}

void forward(const ConvGeometry& g, const float* x, const float* weight, const float* bias, float* y,
             const ConvEpilogue* after) {
  const Windows windows = forward_windows(g, x);
  const Output out = {y, {g.oh, g.ow, g.oc}, 0, 1, false, after};
  const int64_t taps = g.kh * g.kw;
  if (g.groups > 1) convolve<true>(windows, {weight, 1, 0, taps}, bias, out);
  else convolve<false>(windows, {weight, g.c, 1, taps * g.c}, bias, out);
}

void data(const ConvGeometry& g, const float* dy, const float* weight, float* dx, bool add) {
  const int64_t taps = g.kh * g.kw;
  for (int64_t y = 0; y < std::min(g.stride.h, g.h); ++y)
    for (int64_t x = 0; x < std::min(g.stride.w, g.w); ++x) {
      Windows windows(dy, {g.oh, g.ow, g.oc}, 1, data_taps(g.kh, g.dilation.h, g.padding.h, g.stride.h, y),
                      data_taps(g.kw, g.dilation.w, g.padding.w, g.stride.w, x), g.kw, g.groups == 1);
      windows.n = g.n, windows.rows = (g.h - y - 1) / g.stride.h + 1, windows.columns = (g.w - x - 1) / g.stride.w + 1;
      const Output out = {dx, {g.h, g.w, g.c}, {y, x}, g.stride, add};
      if (g.groups > 1) convolve<true>(windows, {weight, 1, 0, taps}, nullptr, out);
      else convolve<false>(windows, {weight, g.c, taps * g.c, 1}, nullptr, out);
    }
}

void weights(const ConvGeometry& g, const float* x, const float* dy, float* dw, bool add) {
  const Windows windows = forward_windows(g, x);
  if (g.groups > 1) gradient<true>(windows, dy, g.oc, dw, add);
  else gradient<false>(windows, dy, g.oc, dw, add);
}

}  // namespace

const ConvKernel direct = {forward, data, weights};

NORMA_SIMD_END
