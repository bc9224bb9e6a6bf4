// The mathematics of ops/elementwise/unary.h, one struct a function, for CPU and CUDA kernels alike: f(x), and df as a
// function of the saved value s, which is the output y where kSavesOutput says so (it then need not keep x), else the
// input.
#pragma once

#include "norma/core/host_device.h"
#include "norma/core/simd/math.h"
#include "norma/ops/elementwise/unary.h"

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

NORMA_UNARY(neg, true, -x, T(-1))
NORMA_UNARY(exp, true, elementary::exp(x), s)
NORMA_UNARY(log, false, elementary::log(x), 1 / s)
NORMA_UNARY(sqrt, true, std::sqrt(x), T(0.5) / s)
NORMA_UNARY(rsqrt, true, 1 / std::sqrt(x), T(-0.5) * s * s * s)
NORMA_UNARY(abs, false, std::abs(x), T(s > 0) - T(s < 0))
NORMA_UNARY(square, false, x* x, 2 * s)
NORMA_UNARY(clamp, false, x < a ? a : (x > b ? b : x), T(s >= a && s <= b))
NORMA_UNARY(tanh, true, elementary::tanh(x), 1 - s * s)
NORMA_UNARY(sigmoid, true, logistic(x), s*(1 - s))
NORMA_UNARY(relu, true, x < 0 ? T(0) : x, T(s > 0))  // NaN stays NaN
NORMA_UNARY(leaky_relu, false, x > 0 ? x : a * x, s > 0 ? T(1) : a)
NORMA_UNARY(gelu, false, x* T(0.5) * (1 + elementary::erf(x * T(kSqrtHalf))),
            T(0.5) * (1 + elementary::erf(s * T(kSqrtHalf))) +
                s * T(kInverseSqrtTwoPi) * elementary::exp(T(-0.5) * s * s))
NORMA_UNARY(gelu_tanh, false, T(0.5) * x * (1 + gelu_tanh_inner(x)),
            T(0.5) * (1 + gelu_tanh_inner(s)) + T(0.5) * s * (1 - gelu_tanh_inner(s) * gelu_tanh_inner(s)) *
                                                    T(kSqrtTwoOverPi) * (1 + 3 * T(kGeluCubic) * s * s))
NORMA_UNARY(silu, false, x* logistic(x), logistic(s) * (1 + s * (1 - logistic(s))))
#undef NORMA_UNARY

// Calls use(function) with the struct for `f`.
template <class T, class Use>
void choose(Unary f, UnaryParams p, Use use) {
  const T a = static_cast<T>(p.a), b = static_cast<T>(p.b);
#define NORMA_CASE(name) \
  case Unary::name: return use(name<T>{a, b});
  switch (f) { NORMA_EACH_UNARY(NORMA_CASE) NORMA_CASE(clamp) NORMA_CASE(leaky_relu) }
#undef NORMA_CASE
}

}  // namespace norma::unary_functions
