// The three passes of direct and of depthwise convolution, one strip of windows after the other: ops/conv/windows.h
// says what a strip is. All that differs between the two is in a Tile, the register tile of R pixels (or rows of
// weights) x K vectors of output channels (ops/conv/direct.cc, ops/conv/depthwise.cc), which has:
//
//     rows(k)         R of a register tile of pixels
//     channels(w)     the input channels that a filter has
//     filters(g, ..)  how the weight lies in memory
//     multiply        adds to a register tile the products of its pixels and filters
//     add_gradient    adds to the sums of the weight's gradient what a strip contributes to those of one run
#pragma once

#include "norma/core/simd/register_tile.h"
#include "norma/ops/conv/packed_weights.h"
#include "norma/ops/conv/windows.h"

NORMA_SIMD_BEGIN

// Into how many parts the vectors of output channels are cut, where there are few pieces of other work: at most `most`.
inline int64_t parts_of(int64_t pieces, int64_t most) {
  return std::clamp<int64_t>(8 / std::max<int64_t>(1, pieces), 1, most);
}
// The groups of the vectors [0, k) of output channels, where no group is of two parts.
inline PoolVector<Range> groups_of(int64_t k, int64_t parts) {
  PoolVector<Range> groups;
  for (int64_t part = 0; part < parts; ++part)
    for_groups(k * part / parts, k * (part + 1) / parts, [&]<int K>(int64_t i) { groups.push_back({i, i + K}); });
  return groups;
}

// y (+)= bias + the convolution of windows with filters.
template <class Tile>
struct StripConvolution {
  static constexpr int64_t kTaskWork = 1 << 16;  // multiply-adds that are worth waking a thread

  const Windows& windows;
  const Output& out;
  const int64_t k = vectors(out.size.c);                                     // vectors of output channels
  const int64_t depth = std::ssize(windows.taps) * Tile::channels(windows);  // weights of a filter
  // Pixels that are cut into strips together: all or, where they are max-pooled, those of an image, whose strips are
  // then a bundle that one thread does in their order.
  const int64_t area = windows.rows * windows.columns * (out.pools() ? 1 : windows.n);
  const int64_t area_strips = (area + kStrip - 1) / kStrip;
  const int64_t strips = area_strips * (out.pools() ? windows.n : 1);
  const int64_t bundle = out.pools() ? area_strips : 1;
  const int64_t parts = parts_of(strips, (k + 1) / 2);  // of the output channels: two vectors or more
  const Scratch padded_bias{k * kLanes};                // [vector][lane]

  // `keep`: the packed weight, if somebody wants that. In backward_input its taps depend on more than its form says.
  void run(const Filters& w, const float* bias, bool keep) const {
    std::fill_n(static_cast<float*>(padded_bias), k * kLanes, 0.F);
    if (bias) std::copy_n(bias, out.size.c, static_cast<float*>(padded_bias));
    const PackedWeights::Form form = {keep ? w.data : nullptr,
                                      {kLanes, 0, w.tap, w.channel, w.filter, out.size.c, parts}};
    const Tensor packed = PackedWeights::find(form, depth * k * kLanes, [&](float* to) {
      pack(w, windows, Tile::channels(windows), groups_of(k, parts), out.size.c, to);
    });
    reserve(Strip::size(windows), out.pools() ? kStrip * out.size.c : 1);
    parallel_for(strips * parts / std::max<int64_t>(1, bundle),
                 kTaskWork / (kStrip * (depth + 1) * k * kLanes * bundle / parts + 1) + 1,
                 [&](int64_t begin, int64_t end) { run(begin * bundle, end * bundle, packed.data<float>()); });
  }

  // Where the pixels of a strip are written. Those that are to be max-pooled go to `unpooled` first.
  struct Places {
    struct Pooled {
      float* to;   // null where the pixel is in no window of the pool
      bool first;  // of its window
    };
    explicit Places(int64_t unpooled_size) : unpooled(unpooled_size) {}
    const Scratch unpooled;  // [kStrip][oc]
    float* to[kStrip];
    Pooled pooled[kStrip];
  };

  // Items are the strips of the first part, then those of the next. packed: [group][depth][vector of the group][lane].
  void run(int64_t begin, int64_t end, const float* packed) const {
    Strip strip(windows);
    Places places(out.pools() ? kStrip * out.size.c : 0);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t part = item / strips, start = item % area_strips * kStrip;
      const int64_t first = item % strips / area_strips * area + start, count = std::min(kStrip, area - start);
      strip.look_at(first, count, [&](int64_t i, int64_t image, int64_t row, int64_t column, int64_t n) {
        const auto& [h, w, c] = out.size;
        const int64_t height = h / 2, width = w / 2, y = row * out.step.h + out.first.h;
        for (const int64_t last = i + n; i < last; ++i, ++column) {
          const int64_t x = column * out.step.w + out.first.w;
          places.to[i] = out.pools() ? places.unpooled + i * c : out.y + ((image * h + y) * w + x) * c;
          float* pool = out.y + ((image * height + y / 2) * width + x / 2) * c;
          places.pooled[i] = {y / 2 < height && x / 2 < width ? pool : nullptr, (y | x) % 2 == 0};
        }
      });
      const int64_t from = k * part / parts, to = k * (part + 1) / parts;
      for_groups(from, to,
                 [&]<int K>(int64_t group) { multiply<K>(strip, packed, places.to, count, group, group == from); });
      if (out.after) finish(places, count, from, to);
    }
  }

  // Writes K vectors of output channels, from vector `group` on, of `count` pixels. Where `fetches`, prefetches what
  // the next register tile reads that no window before it has. Inlined for several K, its registers are spilled.
  template <int K>
  [[gnu::noinline]] void multiply(const Strip& strip, const float* packed, float* const* to, int64_t count,
                                  int64_t group, bool fetches) const {
    constexpr int R = Tile::rows(K);
    const int64_t channel = group * kLanes, n = out.size.c - channel;
    // The runs that windows above have not seen, and how much of one no window to the left has.
    const int64_t fresh = std::min(windows.width, windows.stride.w) * windows.in.c;
    const int64_t fresh_runs = std::max<int64_t>(0, windows.size() - (windows.width > 1 ? windows.stride.h : 1));
    for (int64_t t = 0; t < count; t += R) {
      for (int64_t run = fresh_runs; run < windows.size() && fetches && t + R < count; ++run)
        prefetch(strip.run(run)[t + R], R * fresh);
      Vec sum[R][K];
      for_tile(sum, [&](Vec& s, int, int i) NORMA_INLINE { s = load(padded_bias + channel + i * kLanes); });
      Tile::multiply(sum, windows, strip, t, packed, depth, channel, n);
      for_tile(sum, [&](Vec& s, int r, int i) NORMA_INLINE {
        if (t + r < count) write(to[t + r] + channel + i * kLanes, s, n - i * kLanes, out.add);
      });
    }
  }

  // The epilogue of `count` pixels that are still in the cache, for the vectors [begin, end) of channels.
  void finish(const Places& places, int64_t count, int64_t begin, int64_t end) const {
    with_epilogue(out.after, [&]<class E>() {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t channel = b * kLanes, n = out.size.c - channel;
        const E finish = {out.after, out.y, channel, n, false};
        for (int64_t i = 0; i < count; ++i) {
          float* p = places.to[i] + channel;
          const Vec value = n < kLanes ? load(p, n) : load(p);
          const auto& [to, first] = places.pooled[i];
          if (!out.pools()) finish(p, value);
          else if (to) finish.pool(to + channel, value, first);
        }
      }
    });
  }
};

// A run of the windows of a strip, and the rows of dy to which it belongs.
struct RunOfStrip {
  const Windows& windows;
  int64_t run;
  const float* const* pixels;  // where the run begins
  int64_t count;               // pixels; from there on the run and dy are zeros
  const float* dy;             // [pixel][stride]
  int64_t stride;              // vectors of output channels x lanes
};

// dw (+)= the weight's gradient, added up in slots of strips.
template <class Tile>
struct StripWeightGradient {
  static constexpr int64_t kSlotPixels = 512;          // pixels that a slot should have, and
  static constexpr int64_t kBufferElements = 5 << 20;  // elements of the gradient that all slots may have

  const Windows& windows;
  const float* dy;  // [pixel][filter]
  const int64_t filters;
  const int64_t k = vectors(filters);
  const int64_t depth = std::ssize(windows.taps) * Tile::channels(windows);  // weights of a filter
  const int64_t size = depth * k * kLanes;                                   // floats of a slot's sums
  const int64_t slots =
      std::clamp<int64_t>(windows.count() / kSlotPixels, 1, std::clamp<int64_t>(kBufferElements / size, 1, 16));
  const int64_t parts = parts_of(slots, std::max<int64_t>(1, k / kMaxVectors));  // of the filters
  const Scratch sums{slots * size};  // [slot][group][depth][vector of the group][lane]

  void run(float* dw, bool add) const {
    reserve(Strip::size(windows), kStrip * k * kLanes);
    parallel_slots(static_cast<int>(slots * parts), [&](int64_t item) { sum_slot(item % slots, item / slots); });
    for (const Range& group : groups_of(k, parts)) merge(group, dw, add);
  }

  // The sums of one slot, for one part of the output channels.
  void sum_slot(int64_t slot, int64_t part) const {
    const int64_t strips = (windows.count() + kStrip - 1) / kStrip;
    const int64_t from = k * part / parts, to = k * (part + 1) / parts;
    float* const own = sums + slot * size;
    std::fill(own + from * depth * kLanes, own + to * depth * kLanes, 0.F);
    Strip strip(windows);
    const Scratch padded(kStrip * k * kLanes);
    for (int64_t i = strips * slot / slots; i < strips * (slot + 1) / slots; ++i) {
      const int64_t first = i * kStrip, count = std::min(kStrip, windows.count() - first);
      strip.look_at(first, count, [](auto...) {});
      const float* rows = rows_of_dy(first, count, padded);
      const auto next_x = windows.pixels(first + kStrip, kStrip),
                 next_dy = Prefetch<>{dy, windows.count() * filters, first + kStrip, kStrip, windows.count()};
      for_groups(from, to, [&]<int K>(int64_t group) {
        for (int64_t run = 0; run < windows.size(); ++run)
          Tile::template add_gradient<K>(
              RunOfStrip{windows, run, strip.run(run), count, rows + group * kLanes, k * kLanes}, group * kLanes,
              filters - group * kLanes, own, depth, [&](int64_t share, int64_t shares) {
                if (group > 0) return;
                next_x(run * shares + share, windows.size() * shares);
                next_dy(run * shares + share, windows.size() * shares);
              });
      });
    }
  }

  // dy of a strip: [kStrip][vector][lane], where it is not so in memory as a copy with zeros.
  const float* rows_of_dy(int64_t first, int64_t count, float* padded) const {
    const float* rows = dy + first * filters;
    if (filters % kLanes == 0 && count == kStrip) return rows;
    std::fill_n(padded, kStrip * k * kLanes, 0.F);
    for (int64_t t = 0; t < count; ++t) std::copy_n(rows + t * filters, filters, padded + t * k * kLanes);
    return padded;
  }

  // dw (+)= the sum over the slots of one group's sums, in blocks of rows of a vector that are turned round.
  void merge(const Range& group, float* dw, bool add) const {
    constexpr int64_t kBlock = 16;
    const int64_t blocks = (depth + kBlock - 1) / kBlock;
    parallel_each(blocks * group.size(), 1 + 4096 / (slots * kBlock * kLanes), [&](int64_t item) {
      const int64_t i = item / group.size() * kBlock, rows = std::min(kBlock, depth - i), v = item % group.size();
      const int64_t first = (group.begin + v) * kLanes, n = std::min<int64_t>(kLanes, filters - first);
      float block[kBlock][kLanes];
      for (int64_t row = 0; row < rows; ++row) {
        const float* from = sums + (group.begin * depth + (i + row) * group.size() + v) * kLanes;
        Vec sum{};
        for (int64_t slot = 0; slot < slots; ++slot) sum += load(from + slot * size);
        store(block[row], sum);
      }
      for (int64_t lane = 0; lane < n; ++lane)
        for (int64_t row = 0; row < rows; ++row) {
          float& to = dw[(first + lane) * depth + i + row];
          to = add ? to + block[row][lane] : block[row][lane];
        }
    });
  }
};

template <class Tile>
struct StripKernel {
  static void forward(const ConvGeometry& g, const float* x, const float* weight, const float* bias, float* y,
                      const ConvEpilogue* after) {
    const Windows windows = forward_windows(g, x);
    const Output out = {y, {g.oh, g.ow, g.oc}, 0, 1, false, after};
    StripConvolution<Tile>{windows, out}.run(Tile::filters(g, weight, false), bias, true);
  }

  static void backward_input(const ConvGeometry& g, const float* dy, const float* weight, float* dx, bool add) {
    for (int64_t y = 0; y < std::min(g.stride.h, g.h); ++y)
      for (int64_t x = 0; x < std::min(g.stride.w, g.w); ++x) {
        const Windows windows = backward_input_windows(g, dy, {y, x});
        const Output out = {dx, {g.h, g.w, g.c}, {y, x}, g.stride, add, nullptr};
        StripConvolution<Tile>{windows, out}.run(Tile::filters(g, weight, true), nullptr, false);
      }
  }

  static void backward_weight(const ConvGeometry& g, const float* x, const float* dy, float* dw, bool add) {
    const Windows windows = forward_windows(g, x);
    StripWeightGradient<Tile>{windows, dy, g.oc}.run(dw, add);
  }

  static constexpr ConvKernel kernel = {forward, backward_input, backward_weight};
};

NORMA_SIMD_END
