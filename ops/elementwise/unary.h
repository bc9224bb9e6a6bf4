// Elementwise functions of one tensor, of f32 or f64 (anything else is an error), any shape and strides. The result is
// contiguous, of x's shape and dtype. Where a function is constant, x's gradient is 0 whatever the upstream one is, an
// infinity say: sum(sqrt(relu(x))) has the gradient 0 where x <= 0.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// Tensor name(const Tensor& x) for each of them:
//   neg          -x; of i64, too, where it wraps
//   exp
//   expm1        exp(x) - 1, in all digits near 0
//   log          natural; -inf at 0, NaN below
//   log1p        log(1 + x), in all digits near 0; -inf at -1, NaN below
//   sin          of radians
//   cos          of radians
//   erf          2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x
//   sqrt
//   rsqrt        1 / sqrt(x)
//   abs          gradient sign(x): 0 at 0
//   square
//   floor        gradient 0
//   round        to the nearest integer, halves to the even one; gradient 0
//   sign         -1, 0 or 1, and NaN at NaN; gradient 0
//   tanh
//   sigmoid      1 / (1 + exp(-x))
//   relu         max(x, 0); gradient 0 at 0, 1 at NaN
//   relu6        min(max(x, 0), 6); gradient 0 at 0 and 6, 1 at NaN
//   gelu         x * Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016)
//   gelu_tanh    its approximation x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
//   silu         x * sigmoid(x)
//   mish         x * tanh(log(1 + exp(x))) (Misra 2019)
//   hardsigmoid  min(max(x + 3, 0), 6) / 6; gradient 0 at -3 and 3
//   hardswish    x * hardsigmoid(x); gradient 0 at -3 and 1 at 3 (Howard et al. 2019)
// clang-format off
#define NORMA_EACH_UNARY(X)                                                                                          \
  X(neg) X(exp) X(expm1) X(log) X(log1p) X(sin) X(cos) X(erf) X(sqrt) X(rsqrt) X(abs) X(square) X(floor) X(round)    \
  X(sign) X(tanh) X(sigmoid) X(relu) X(relu6) X(gelu) X(gelu_tanh) X(silu) X(mish) X(hardsigmoid) X(hardswish)
// clang-format on
#define NORMA_UNARY(name) Tensor name(const Tensor& x);
NORMA_EACH_UNARY(NORMA_UNARY)
#undef NORMA_UNARY

// Those that have parameters; an error where one is NaN.

// minimum(maximum(x, low), high): high everywhere if low is above it, as in ONNX, numpy and PyTorch. Gradient 1 in
// [low, high] and at NaN, 0 outside.
Tensor clamp(const Tensor& x, double low, double high);
Tensor leaky_relu(const Tensor& x, double slope = 0.01);  // x > 0 ? x : slope x; gradient slope at 0
// x > 0 ? x : alpha (exp(x) - 1); gradient alpha at 0 (Clevert et al. 2016).
Tensor elu(const Tensor& x, double alpha = 1);
// log(1 + exp(beta x)) / beta, without overflow and, as in PyTorch, x itself where beta x is above the threshold: in
// f64 that is 2e-9 off at the default one, and not at all at infinity.
Tensor softplus(const Tensor& x, double beta = 1, double threshold = 20);

#define NORMA_NAME(name) name,
enum class Unary : uint8_t { NORMA_EACH_UNARY(NORMA_NAME) clamp, leaky_relu, elu, softplus };
struct UnaryParams {
  double a = 0, b = 0;  // clamp: low, high; leaky_relu: slope; elu: alpha; softplus: beta, threshold
};

// y = f(x).  x any strides, y contiguous.
NORMA_SIMD_KERNEL(unary, Unary f, UnaryParams params, const Tensor& x, const Tensor& y)
// dx (+)= dy * f', 0 where f is constant. `saved` is the output y where the struct of ops/elementwise/unary_functions.h
// says so, else the input x.
NORMA_SIMD_KERNEL(unary_backward, Unary f, UnaryParams params, const Tensor& dy, const Tensor& saved, const Tensor& dx,
                  bool add)

}  // namespace norma
