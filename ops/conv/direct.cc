// Direct convolution with every filter: y and the gradients are products of the windows' runs, read where they lie in
// the image (ops/conv/windows.h), and the packed weight. Nothing is copied to make matrices of windows.
#include "norma/ops/conv/strips.h"

NORMA_SIMD_BEGIN
namespace {

// R of a register tile of weights: their gradients are summed over the strip.
constexpr int weight_rows(int k) { return kRegisters == 32 ? (k == 1 ? 16 : 24 / k) : 12 / k; }

struct DenseTile {
  // Each pixel takes a pointer's register, too.
  static constexpr int rows(int k) {
    return kRegisters == 32 ? (k == 1 ? 12 : k == 4 ? 6 : 8) : (k == 1 ? 8 : k == 2 ? 6 : 4);
  }
  static int64_t channels(const Windows& windows) { return windows.in.c; }
  // [oc, kh, kw, c]; for backward_input, whose input channels are oc, likewise.
  static Filters filters(const ConvGeometry& g, const float* weight, bool backward_input) {
    const int64_t filter = g.kh * g.kw * g.c;
    return backward_input ? Filters{weight, g.c, filter, 1} : Filters{weight, g.c, 1, filter};
  }

  // sum[r][k] += the products of pixels [t, t + R) of the strip with K vectors of filters, from `channel` on.
  template <int R, int K>
  NORMA_INLINE static void multiply(Vec (&sum)[R][K], const Windows& windows, const Strip& strip, int64_t t,
                                    const float* packed, int64_t depth, int64_t channel, int64_t) {
    const float* w = packed + channel * depth;  // [run][channel][k]
    for (int64_t run = 0; run < windows.size(); ++run) {
      const float* p[R];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) p[r] = strip.run(run)[t + r];
      for (int64_t i = 0; i < windows.length(); ++i, w += K * kLanes)
        add_products(
            sum, [&](int r) NORMA_INLINE { return p[r][i]; }, [&](int k) NORMA_INLINE { return load(w + k * kLanes); });
    }
  }

  // sums[i][k] += the sum over the strip of run[t][i] dy[t][k], for K vectors of k. Calls fetch(block, blocks) between.
  template <int K, class F>
  static void add_gradient(const RunOfStrip& run, int64_t channel, int64_t, float* sums, int64_t depth, F&& fetch) {
    const int64_t length = run.windows.length(), blocks = (length + weight_rows(K) - 1) / weight_rows(K);
    float* dw = sums + channel * depth + run.run * length * K * kLanes;
    for (int64_t block = 0; block < blocks; ++block) {
      fetch(block, blocks);
      const int64_t first = length * block / blocks;
      with_constant<weight_rows(K)>(length * (block + 1) / blocks - first,
                                    [&]<int R>() { add_gradient<R, K>(run, first, dw + first * K * kLanes); });
    }
  }

 private:
  // The same of R of the run's values, from `first` on.
  template <int R, int K>
  static void add_gradient(const RunOfStrip& run, int64_t first, float* dw) {
    Vec sum[R][K];
    for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { s = load(dw + (r * K + k) * kLanes); });
    for (int64_t t = 0; t < run.count; ++t) {
      const float* from = run.pixels[t] + first;
      asm("" : "+r"(from));  // else GCC keeps an index register for each of the R rows
      add_products(
          sum, [from](int r) NORMA_INLINE { return from[r]; },
          [row = run.dy + t * run.stride](int k) NORMA_INLINE { return load(row + k * kLanes); });
    }
    for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { store(dw + (r * K + k) * kLanes, s); });
  }
};

}  // namespace

const ConvKernel direct = StripKernel<DenseTile>::kernel;

NORMA_SIMD_END
