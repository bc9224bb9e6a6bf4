#include "norma/ops/elementwise/unary.h"

#include "norma/autograd/op.h"
#include "norma/ops/elementwise/unary_functions.h"

namespace norma {

static Tensor apply(const char* name, Unary f, const Tensor& x, UnaryParams params = {}) {
  const Op op(name, {x});
  const Tensor y = empty_like(x);
  kernel::unary(f, params, x, y);
  Tensor saved;
  unary_functions::choose<float>(f, params, [&](auto function) { saved = function.kSavesOutput ? y : x; });
  return op.record({x}, y, [f, params, saved = op.save(saved)](const Tensor& dy, Sink& dx) {
    dx.write(0, kernel::unary_backward, f, params, dy, saved);
  });
}

#define NORMA_UNARY(name) \
  Tensor name(const Tensor& x) { return apply(#name, Unary::name, x); }
NORMA_EACH_UNARY(NORMA_UNARY)
#undef NORMA_UNARY

// Of slope 0 it is relu, and 0 at -inf, where 0 * x is not.
Tensor leaky_relu(const Tensor& x, double slope) {
  return apply("leaky_relu", slope == 0 ? Unary::relu : Unary::leaky_relu, x, {slope, 0});
}

Tensor clamp(const Tensor& x, double low, double high) {
  check(low == low && high == high, "clamp", "bounds {} and {}: want numbers", low, high);
  return apply("clamp", Unary::clamp, x, {low, high});
}

}  // namespace norma
