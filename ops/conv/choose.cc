#include <fmt/ranges.h>

#include <cstdlib>

#include "norma/ops/conv/kernels.h"

namespace norma::cpu {

static constexpr const char* kNames[] = {"automatic", "im2col", "direct", "winograd", "winograd2"};

const char* name_of(ConvAlgorithm algorithm) { return kNames[static_cast<int>(algorithm)]; }

bool can_do(ConvAlgorithm algorithm, const ConvGeometry& g, DType dtype) {
  if (algorithm <= ConvAlgorithm::im2col) return true;  // automatic, too
  const bool dense = g.groups == 1, depthwise = g.groups == g.c && g.groups == g.oc;
  if (algorithm == ConvAlgorithm::direct) return dtype == f32 && (dense || depthwise);
  return dtype == f32 && dense && g.kh == 3 && g.kw == 3 && g.stride == Pair(1) && g.dilation == Pair(1);
}

// What $NORMA_CONV names, or `automatic`. Read for every pass, so that a program may change it between two.
static ConvAlgorithm wanted() {
  const char* text = std::getenv("NORMA_CONV");
  if (!text || !*text) return ConvAlgorithm::automatic;
  const auto found = std::find(std::begin(kNames), std::end(kNames), std::string_view(text));
  check(found != std::end(kNames), "conv2d", "NORMA_CONV is '{}', wants one of {}", text, fmt::join(kNames, ", "));
  return static_cast<ConvAlgorithm>(found - kNames);
}

// The thresholds are where timings cross. (Without images there are no tiles, and winograd's kernels are not asked.)
static ConvAlgorithm choose(const ConvGeometry& g, DType dtype, int64_t filters) {
  const ConvAlgorithm named = g.algorithm == ConvAlgorithm::automatic ? wanted() : g.algorithm;
  if (named != ConvAlgorithm::automatic && g.n > 0 && can_do(named, g, dtype)) return named;
  const auto tiles = [&](int64_t size) { return g.n * ((g.oh + size - 1) / size) * ((g.ow + size - 1) / size); };
  // Few tiles are not worth that many weights are transformed for them. 36 products for a tile of 4 x 4 outputs, which
  // are made for four tiles or more, 16 for one of 2 x 2: at the edges of small images the latter waste less.
  const bool worth_transforming = tiles(4) >= 16 || (tiles(2) >= 4 && g.c * g.oc <= 1024 * tiles(2));
  if (can_do(ConvAlgorithm::winograd, g, dtype) && std::min(g.c, g.oc) >= 12 && worth_transforming)
    return 36 * std::max<int64_t>(tiles(4), 4) < 16 * tiles(2) ? ConvAlgorithm::winograd : ConvAlgorithm::winograd2;
  const bool worth_packing = g.groups > 1 || (filters >= 8 && tiles(1) >= 64);
  return can_do(ConvAlgorithm::direct, g, dtype) && worth_packing ? ConvAlgorithm::direct : ConvAlgorithm::im2col;
}

const ConvKernel* vectorised(const ConvGeometry& g, DType dtype, int64_t filters) {
  switch (choose(g, dtype, filters)) {
    case ConvAlgorithm::direct: return g.groups == 1 ? &NORMA_SIMD_BEST(direct) : &NORMA_SIMD_BEST(depthwise);
    case ConvAlgorithm::winograd: return &NORMA_SIMD_BEST(winograd);
    case ConvAlgorithm::winograd2: return &NORMA_SIMD_BEST(winograd2);
    default: return nullptr;
  }
}

}  // namespace norma::cpu
