// The mathematics of ops/unary.h, one struct a function, for CPU and CUDA kernels alike: f(x), and df as a function of
// the saved value s, which is the output y where kSavesOutput says so (it then need not keep x), else the input.
#pragma once

#include <cmath>

#include "norma/core/host_device.h"
#include "norma/ops/elementary.h"
#include "norma/ops/unary.h"

namespace norma::unary_functions {

#define NORMA_UNARY(name, saves_output, f_of_x, df_of_s)                   \
  template <class T>                                                       \
  struct name {                                                            \
    static constexpr bool kSavesOutput = saves_output;                     \
    T a, b;                                                                \
    NORMA_HOST_DEVICE T f([[maybe_unused]] T x) const { return f_of_x; }   \
    NORMA_HOST_DEVICE T df([[maybe_unused]] T s) const { return df_of_s; } \
  };

template <class T>
NORMA_HOST_DEVICE inline T logistic(T x) {
  return 1 / (1 + elementary::exp(-x));
}
inline constexpr double kSqrtHalf = 0.70710678118654752440;          // 1/sqrt(2)
inline constexpr double kInverseSqrtTwoPi = 0.39894228040143267794;  // 1/sqrt(2 pi)
inline constexpr double kSqrtTwoOverPi = 0.79788456080286535588;     // sqrt(2/pi)
inline constexpr double kGeluCubic = 0.044715;

template <class T>
NORMA_HOST_DEVICE inline T gelu_tanh_inner(T x) {
  return elementary::tanh(T(kSqrtTwoOverPi) * (x + T(kGeluCubic) * x * x * x));
}

NORMA_UNARY(Neg, true, -x, T(-1))
NORMA_UNARY(Exp, true, elementary::exp(x), s)
NORMA_UNARY(Log, false, elementary::log(x), 1 / s)
NORMA_UNARY(Sqrt, true, std::sqrt(x), T(0.5) / s)
NORMA_UNARY(Rsqrt, true, 1 / std::sqrt(x), T(-0.5) * s * s * s)
NORMA_UNARY(Abs, false, std::abs(x), T(s > 0) - T(s < 0))
NORMA_UNARY(Square, false, x* x, 2 * s)
NORMA_UNARY(Clamp, false, x < a ? a : (x > b ? b : x), T(s >= a && s <= b))
NORMA_UNARY(Tanh, true, elementary::tanh(x), 1 - s * s)
NORMA_UNARY(Sigmoid, true, logistic(x), s*(1 - s))
NORMA_UNARY(Relu, true, x < 0 ? T(0) : x, T(s > 0))  // NaN stays NaN
NORMA_UNARY(LeakyRelu, false, x > 0 ? x : a * x, s > 0 ? T(1) : a)
NORMA_UNARY(Gelu, false, x* T(0.5) * (1 + elementary::erf(x * T(kSqrtHalf))),
            T(0.5) * (1 + elementary::erf(s * T(kSqrtHalf))) +
                s * T(kInverseSqrtTwoPi) * elementary::exp(T(-0.5) * s * s))
NORMA_UNARY(GeluTanh, false, T(0.5) * x * (1 + gelu_tanh_inner(x)),
            T(0.5) * (1 + gelu_tanh_inner(s)) + T(0.5) * s * (1 - gelu_tanh_inner(s) * gelu_tanh_inner(s)) *
                                                    T(kSqrtTwoOverPi) * (1 + 3 * T(kGeluCubic) * s * s))
NORMA_UNARY(Silu, false, x* logistic(x), logistic(s) * (1 + s * (1 - logistic(s))))
#undef NORMA_UNARY

// Calls use(function) with the struct for `f`.
template <class T, class Use>
void choose(Unary f, UnaryParams p, Use use) {
  const T a = static_cast<T>(p.a), b = static_cast<T>(p.b);
  switch (f) {
    case Unary::neg: return use(Neg<T>{a, b});
    case Unary::exp: return use(Exp<T>{a, b});
    case Unary::log: return use(Log<T>{a, b});
    case Unary::sqrt: return use(Sqrt<T>{a, b});
    case Unary::rsqrt: return use(Rsqrt<T>{a, b});
    case Unary::abs: return use(Abs<T>{a, b});
    case Unary::square: return use(Square<T>{a, b});
    case Unary::clamp: return use(Clamp<T>{a, b});
    case Unary::tanh: return use(Tanh<T>{a, b});
    case Unary::sigmoid: return use(Sigmoid<T>{a, b});
    case Unary::relu: return use(Relu<T>{a, b});
    case Unary::leaky_relu: return use(LeakyRelu<T>{a, b});
    case Unary::gelu: return use(Gelu<T>{a, b});
    case Unary::gelu_tanh: return use(GeluTanh<T>{a, b});
    case Unary::silu: return use(Silu<T>{a, b});
  }
}

}  // namespace norma::unary_functions
