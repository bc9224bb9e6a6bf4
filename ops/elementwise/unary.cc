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

Tensor neg(const Tensor& x) { return apply("neg", Unary::neg, x); }
Tensor exp(const Tensor& x) { return apply("exp", Unary::exp, x); }
Tensor log(const Tensor& x) { return apply("log", Unary::log, x); }
Tensor sqrt(const Tensor& x) { return apply("sqrt", Unary::sqrt, x); }
Tensor rsqrt(const Tensor& x) { return apply("rsqrt", Unary::rsqrt, x); }
Tensor abs(const Tensor& x) { return apply("abs", Unary::abs, x); }
Tensor square(const Tensor& x) { return apply("square", Unary::square, x); }
Tensor tanh(const Tensor& x) { return apply("tanh", Unary::tanh, x); }
Tensor sigmoid(const Tensor& x) { return apply("sigmoid", Unary::sigmoid, x); }
Tensor relu(const Tensor& x) { return apply("relu", Unary::relu, x); }
Tensor leaky_relu(const Tensor& x, double slope) { return apply("leaky_relu", Unary::leaky_relu, x, {slope, 0}); }
Tensor gelu(const Tensor& x) { return apply("gelu", Unary::gelu, x); }
Tensor gelu_tanh(const Tensor& x) { return apply("gelu_tanh", Unary::gelu_tanh, x); }
Tensor silu(const Tensor& x) { return apply("silu", Unary::silu, x); }

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
