#include "norma/core/simd/dispatch.h"

#include <cstdlib>
#include <string_view>

#include "norma/core/error.h"

namespace norma::cpu {
namespace {

SimdLevel best() {
#ifdef NORMA_SIMD_DISPATCH
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return SimdLevel::base;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
             ? SimdLevel::avx512
             : SimdLevel::avx2;
#else
  return SimdLevel::base;
#endif
}

}  // namespace

SimdLevel simd_level() {
  static const SimdLevel most = best();
  const char* text = std::getenv("NORMA_SIMD");
  if (!text || !*text) return most;
  constexpr std::string_view names[] = {"base", "avx2", "avx512"};
  for (uint8_t level = 0; level < 3; ++level) {
    if (names[level] != text) continue;
    check(level <= static_cast<uint8_t>(most), "simd", "NORMA_SIMD is '{}': this CPU or this build goes up to '{}'",
          text, names[static_cast<uint8_t>(most)]);
    return SimdLevel{level};
  }
  fail("simd", "NORMA_SIMD is '{}', wants one of base, avx2, avx512", text);
}

}  // namespace norma::cpu
