// How Winograd's convolution cuts its work, and where in memory its matrices lie: for ops/conv/winograd.cc, which says
// what they are. Tiles are cut into blocks, the vectors of output channels into parts, sums of the weight's gradient
// belong to slots.
#pragma once

#include <array>
#include <numeric>

#include "norma/core/memory.h"
#include "norma/core/parallel.h"
#include "norma/core/simd/register_tile.h"
#include "norma/ops/conv/epilogue.h"

NORMA_SIMD_BEGIN

// c and k count the vectors of channels on the side of V and on the other, y's. F is F4 or F2.
template <class F>
struct WinogradPlan {
  static constexpr int64_t kWideWeights = 3 << 20;     // elements of U, from which on it is cut up
  static constexpr int64_t kSlotTiles = 128;           // tiles that a slot of backward_weight should have, and
  static constexpr int64_t kBufferElements = 5 << 20;  // elements of dU that all slots may have
  static constexpr int places = F::in * F::in;         // of a tile

  // An image, and in it the first pixel of a tile of the output.
  struct Tile {
    int64_t image, top, left;
  };

  const int64_t n;         // images, some
  const Images out;        // y's
  const int64_t channels;  // x's
  int64_t block;           // tiles of a block
  const int64_t tiles = n * ((out.h + F::out - 1) / F::out) * ((out.w + F::out - 1) / F::out);
  const int64_t c = vectors(channels), k = vectors(out.c);
  int64_t blocks = std::max<int64_t>(1, (tiles + block - 1) / block);
  int64_t parts = 1, slots = 1;
  bool wide = false;  // all tiles are one block, whose V all threads read, while each part has a U of its own
  const bool none_cut = out.h % F::out == 0 && out.w % F::out == 0;  // of the tiles
  PoolVector<Tile> order = {};                                       // the tiles of all blocks, as they stand in them

  // Of y = conv(x).
  static WinogradPlan of_convolution(int64_t n, const Images& out, int64_t channels) {
    WinogradPlan plan = {n, out, channels, channels <= 256 ? 16 : 32};
    // Two blocks, for two threads, where these are not smaller than a register tile.
    if (plan.tiles > 8 && plan.tiles <= 16 && tile_rows(plan.k > 1 ? 2 : 1) <= 8) plan.block = 8, plan.blocks = 2;
    if (!plan.cut_into_blocks(plan.c))
      plan.parts = std::clamp<int64_t>(4 / plan.blocks, 1, std::max<int64_t>(1, plan.k / kMaxVectors));
    return plan;
  }
  // Of backward_weight.
  static WinogradPlan of_weight_gradient(int64_t n, const Images& out, int64_t channels) {
    const int64_t most = std::max(channels, out.c);
    WinogradPlan plan = {n, out, channels, most <= 64 ? 16 : most <= 128 ? 32 : 64};
    if (plan.cut_into_blocks(plan.c + plan.k)) return plan;
    const int64_t buffers = std::max<int64_t>(1, kBufferElements / (places * plan.plane(plan.k)));
    plan.slots = std::clamp<int64_t>(plan.tiles / kSlotTiles, 1, std::min<int64_t>(16, buffers));
    plan.parts = std::clamp<int64_t>(8 / plan.slots, 1, std::max<int64_t>(1, plan.k / 8));
    return plan;
  }

  // V and M are [place][vector][tile][lane], U is [place][group of vectors][C][vector][lane]: floats from place to
  // place of so many vectors, and in all.
  int64_t stride(int64_t count) const { return (count * block + 1) * kLanes; }
  int64_t size(int64_t count) const { return places * stride(count); }
  int64_t plane(int64_t count) const { return (c * count * kLanes + 1) * kLanes; }

  // The vectors of output channels of a part.
  Range part(int64_t i) const { return {k * i / parts, k * (i + 1) / parts}; }
  int64_t largest_part() const { return (k + parts - 1) / parts; }
  // Tiles of a block that begins at tile `first`; none behind the last.
  int64_t tiles_from(int64_t first) const { return std::clamp<int64_t>(tiles - first, 0, block); }

  // How the image's edges cut a tile: at the right 0, not at all 1, below 2, at both 3. The last line of places has a
  // part in the last line of outputs only. Where that is cut off, its products are left out, and for these to be runs
  // of tiles, a block has its tiles in the order of their cuts.
  int cut(const Tile& t) const {
    return t.top + F::out > out.h ? 2 + (t.left + F::out > out.w) : t.left + F::out <= out.w;
  }
  // Where in the block that begins at tile `first` the tiles of each cut begin, and the last end.
  std::array<int64_t, 5> cuts(int64_t first) const {
    std::array<int64_t, 5> begin = {0, 0, none_cut ? tiles_from(first) : 0};
    for (int64_t i = first; i < first + tiles_from(first) && !none_cut; ++i) ++begin[cut(order[i]) + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    return begin;
  }
  // Of those, the tiles whose product at a place is needed.
  static Range in_need(const std::array<int64_t, 5>& begin, int place) {
    const bool bottom = place / F::in == F::in - 1, right = place % F::in == F::in - 1;
    return {begin[right], begin[bottom ? 2 : right ? 3 : 4]};
  }
  // Memory of images that lies under the block that begins at tile `first`, or none.
  template <bool write = false>
  Prefetch<write> pixels(const float* images, const Images& size, int64_t first, bool wanted = true) const {
    return {images, n * size.h * size.w * size.c, first, wanted ? tiles_from(first) : 0, tiles};
  }

  // In parallel, calls f(c, k, offset, step) for blocks of kLanes x kLanes weights of the vectors `of` of k, in groups
  // that end where parts do: the first lies at `offset` from U's beginning for those vectors, and a row further on at
  // `step` from there. One thread does it where one does all products: to fetch U from another core takes longer.
  template <int most, class G>
  void for_weights(Range of, G&& f) const {
    parallel_each(c, blocks * parts == 1 ? c : 1, [&](int64_t b) {
      for (int64_t i = 0; i < parts; ++i)
        for_groups<most>(std::max(of.begin, part(i).begin), std::min(of.end, part(i).end), [&]<int K>(int64_t group) {
          for (int v = 0; v < K; ++v)
            f(b * kLanes, (group + v) * kLanes, (((group - of.begin) * c + b * K) * kLanes + v) * kLanes, K * kLanes);
        });
    });
  }

  // Lists the tiles by blocks. Becomes wide, and says so, where U would fill the cache and V, of `vectors` vectors,
  // does not: U comes and goes in the threads' own caches, part by part.
  bool cut_into_blocks(int64_t vectors) {
    const int64_t all = (tiles + 15) / 16 * 16 + 1;  // an odd stride
    wide = places * c * k * kLanes * kLanes >= kWideWeights && all * vectors <= c * k * kLanes;
    if (wide) block = all, blocks = 1, parts = (k + 1) / 2;
    order.reserve(tiles);
    PoolVector<Tile> of_cut[4];  // of a block
    for (int64_t image = 0, listed = 0; image < n; ++image)
      for (int64_t top = 0; top < out.h; top += F::out)
        for (int64_t left = 0; left < out.w; left += F::out) {
          (none_cut ? order : of_cut[cut({image, top, left})]).push_back({image, top, left});
          if (none_cut || (++listed % block != 0 && listed < tiles)) continue;
          for (PoolVector<Tile>& list : of_cut) order.insert(order.end(), list.begin(), list.end()), list.clear();
        }
    return wide;
  }
};

NORMA_SIMD_END
