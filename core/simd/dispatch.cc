#include "norma/core/simd/dispatch.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "norma/core/error.h"

namespace norma::cpu {

static SimdLevel best() {
#ifdef NORMA_SIMD_DISPATCH
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  return avx512 ? SimdLevel::avx512 : avx2 ? SimdLevel::avx2 : SimdLevel::base;
#else
  return SimdLevel::base;
#endif
}

static std::atomic<SimdLevel>& chosen() {
  static std::atomic<SimdLevel> level = [] {
    const char* name = std::getenv("NORMA_SIMD");
    return name && *name ? simd_level(name) : best();
  }();
  return level;
}

SimdLevel simd_level(std::string_view name) {
  constexpr std::string_view names[] = {"base", "avx2", "avx512"};
  const auto level = std::find(names, names + 3, name) - names, most = static_cast<ptrdiff_t>(best());
  check(level < 3, "simd", "NORMA_SIMD is '{}', wants one of base, avx2, avx512", name);
  check(level <= most, "simd", "NORMA_SIMD is '{}': this CPU or this build goes up to '{}'", name, names[most]);
  return static_cast<SimdLevel>(level);
}

SimdLevel simd_level() { return chosen().load(std::memory_order_relaxed); }
void set_simd_level(SimdLevel level) { chosen().store(level, std::memory_order_relaxed); }

}  // namespace norma::cpu
