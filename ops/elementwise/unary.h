// Elementwise functions of one tensor, of f32 or f64 (anything else is an error), any shape and strides. The result is
// contiguous, of x's shape and dtype. Where a function is constant, x's gradient is 0 whatever the upstream one is, an
// infinity say: sum(sqrt(relu(x))) has the gradient 0 where x <= 0.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

Tensor neg(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);  // natural; -inf at 0, NaN below
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);  // 1 / sqrt(x)
Tensor abs(const Tensor& x);    // gradient sign(x): 0 at 0
Tensor square(const Tensor& x);
// minimum(maximum(x, low), high): high everywhere if low is above it, as in ONNX, numpy and PyTorch. Gradient 1 in
// [low, high] and at NaN, 0 outside. Error: a bound that is NaN.
Tensor clamp(const Tensor& x, double low, double high);
Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);                          // 1 / (1 + exp(-x))
Tensor relu(const Tensor& x);                             // max(x, 0); gradient 0 at 0, 1 at NaN
Tensor leaky_relu(const Tensor& x, double slope = 0.01);  // x > 0 ? x : slope x; gradient slope at 0
// x * Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016).
Tensor gelu(const Tensor& x);
// Its approximation x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
Tensor gelu_tanh(const Tensor& x);
Tensor silu(const Tensor& x);  // x * sigmoid(x)

// X(name) for each of them that has no parameters.
#define NORMA_EACH_UNARY(X) \
  X(neg) X(exp) X(log) X(sqrt) X(rsqrt) X(abs) X(square) X(tanh) X(sigmoid) X(relu) X(gelu) X(gelu_tanh) X(silu)
#define NORMA_NAME(name) name,
enum class Unary : uint8_t { NORMA_EACH_UNARY(NORMA_NAME) clamp, leaky_relu };
#undef NORMA_NAME
struct UnaryParams {
  double a = 0, b = 0;  // clamp: low, high; leaky_relu: slope
};

// y = f(x).  x any strides, y contiguous.
NORMA_SIMD_KERNEL(unary, Unary f, UnaryParams params, const Tensor& x, const Tensor& y)
// dx (+)= dy * f', 0 where f is constant. `saved` is the output y where the struct of ops/elementwise/unary_functions.h
// says so, else the input x.
NORMA_SIMD_KERNEL(unary_backward, Unary f, UnaryParams params, const Tensor& dy, const Tensor& saved, const Tensor& dx,
                  bool add)

}  // namespace norma
