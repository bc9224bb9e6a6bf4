// What tests/simd/check.sh has to find: an inline function, of a namespace that all share, compiled for a level.
#include "norma/core/simd/vectors.h"

NORMA_SIMD_BEGIN
}
namespace norma {
inline void leak(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= 2;
}
}  // namespace norma
namespace norma::cpu::NORMA_SIMD {
void uses_it(float* x, int64_t n) {
  leak(x, n);
  void (*volatile function)(float*, int64_t) = leak;
  function(x, n);
}
NORMA_SIMD_END
