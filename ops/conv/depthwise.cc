// Depthwise convolution, one filter a channel: vectors of channels are multiplied one by one, over the same table of
// windows as in direct convolution (ops/conv/windows.h), where every tap is a run of its own.
#include "norma/ops/conv/strips.h"

NORMA_SIMD_BEGIN
namespace {

struct DepthwiseTile {
  static constexpr int rows(int) { return tile_rows(4); }
  static int64_t channels(const Windows&) { return 1; }
  static Filters filters(const ConvGeometry& g, const float* weight, bool) { return {weight, 1, 0, g.kh * g.kw}; }

  // sum[r][k] += the products of pixels [t, t + R) of the strip with K vectors of channels, from `channel` on, where
  // there are n.
  template <int R, int K>
  NORMA_INLINE static void multiply(Vec (&sum)[R][K], const Windows& windows, const Strip& strip, int64_t t,
                                    const float* packed, int64_t depth, int64_t channel, int64_t n) {
    with_loads<K>(n, [&](auto&& get) NORMA_INLINE {
      const float* w = packed + channel * depth;  // [run][k]
      for (int64_t i = 0; i < windows.size(); ++i, w += K * kLanes) {
        const float* const* p = strip.run(i) + t;
        for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { s += get(p[r] + channel, k) * load(w + k * kLanes); });
      }
    });
  }

  // sums[run][k] += the sum over the strip of run[t][k] dy[t][k], for K vectors of k from `channel` on, where there are
  // n.
  template <int K, class F>
  static void add_gradient(const RunOfStrip& run, int64_t channel, int64_t n, float* sums, int64_t depth, F&& fetch) {
    fetch(0, 1);
    float* dw = sums + channel * depth + run.run * K * kLanes;
    const float* dy = run.dy;
    Vec sum[2][K];  // of every other pixel
    for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { s = r == 0 ? load(dw + k * kLanes) : Vec{}; });
    with_loads<K>(n, [&](auto&& get) NORMA_INLINE {
      for (int64_t t = 0; t < kStrip; t += 2, dy += 2 * run.stride)
        for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE {
          s += get(run.pixels[t + r] + channel, k) * load(dy + r * run.stride + k * kLanes);
        });
    });
    for (int k = 0; k < K; ++k) store(dw + k * kLanes, sum[0][k] + sum[1][k]);
  }

 private:
  // Calls f(get), where get(p, k) loads vector k of the n channels at p, or of the K vectors if there are more.
  template <int K, class F>
  NORMA_INLINE static void with_loads(int64_t n, F&& f) {
    if (n >= K * kLanes) f([](const float* p, int k) NORMA_INLINE { return load(p + k * kLanes); });
    else
      f([n](const float* p, int k)
            NORMA_INLINE { return load(p + k * kLanes, std::min<int64_t>(kLanes, n - k * kLanes)); });
  }
};

}  // namespace

const ConvKernel depthwise = StripKernel<DepthwiseTile>::kernel;

NORMA_SIMD_END
