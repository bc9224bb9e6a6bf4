#include "norma/ops/elementwise/unary.h"

#include "norma/autograd/op.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/unary_functions.h"

namespace norma {

static Tensor apply(const char* name, Unary f, const Tensor& x, UnaryParams params = {}) {
  const Op op(name);
  if (f == Unary::neg && x.dtype() == i64) return sub(0, x);
  op.check_same({x});
  op.check(params.a == params.a && params.b == params.b, "parameters {} and {}: want numbers", params.a, params.b);
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

// Of slope 0 it is relu, and 0 at -inf, where 0 * x is not.
Tensor leaky_relu(const Tensor& x, double slope) {
  return apply("leaky_relu", slope == 0 ? Unary::relu : Unary::leaky_relu, x, {slope, 0});
}

Tensor elu(const Tensor& x, double alpha) { return apply("elu", alpha == 0 ? Unary::relu : Unary::elu, x, {alpha, 0}); }

Tensor softplus(const Tensor& x, double beta, double threshold) {
  return apply("softplus", Unary::softplus, x, {beta, threshold});
}

Tensor clamp(const Tensor& x, double low, double high) { return apply("clamp", Unary::clamp, x, {low, high}); }

}  // namespace norma
