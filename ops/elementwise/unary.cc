#include "norma/ops/elementwise/unary.h"

#include "norma/autograd/op.h"
#include "norma/ops/elementwise/unary_functions.h"

namespace norma {
namespace {

Tensor apply(const char* name, Unary f, const Tensor& x, UnaryParams params = {}) {
  Op op(name);
  op.check_same({x});
  Tensor y = empty_like(x);
  kernel::unary(f, params, x, y);
  return op.record({x}, y, [f, params, saved = op.save(unary_saves_output(f) ? y : x)](const Tensor& dy, Sink& dx) {
    dx.write(0, kernel::unary_backward, f, params, dy, saved);
  });
}

}  // namespace

#define NORMA_UNARY(name) \
  Tensor name(const Tensor& x) { return apply(#name, Unary::name, x); }
NORMA_EACH_UNARY(NORMA_UNARY)
#undef NORMA_UNARY

Tensor leaky_relu(const Tensor& x, double slope) { return apply("leaky_relu", Unary::leaky_relu, x, {slope, 0}); }

Tensor clamp(const Tensor& x, double low, double high) {
  check(low <= high, "clamp", "low {} is above high {}", low, high);
  return apply("clamp", Unary::clamp, x, {low, high});
}

bool unary_saves_output(Unary f) {
  bool result = false;
  unary_functions::choose<float>(f, {}, [&](auto function) { result = function.kSavesOutput; });
  return result;
}

}  // namespace norma
