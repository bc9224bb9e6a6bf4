// The mathematics of ops/elementwise/unary.h, one struct a function, for CPU and CUDA kernels alike: f(x), and what
// an upstream gradient d makes of x's: gradient(d, s), s the saved value, which is the output y where kSavesOutput says
// so (it then need not keep x), else the input. It is d times the derivative or, where f is constant, 0 for any d,
// infinities and NaN among them; where x is NaN, d is passed on.
#pragma once

#include "norma/core/host_device.h"
#include "norma/core/simd/math.h"
#include "norma/ops/elementwise/unary.h"

namespace norma::unary_functions {

#define NORMA_UNARY(name, saves_output, f_of_x, gradient_of_ds)                                               \
  template <class T>                                                                                          \
  struct name {                                                                                               \
    static constexpr bool kSavesOutput = saves_output;                                                        \
    T a, b;                                                                                                   \
    NORMA_HOST_DEVICE T f(T x) const { return f_of_x; }                                                       \
    NORMA_HOST_DEVICE T gradient([[maybe_unused]] T d, [[maybe_unused]] T s) const { return gradient_of_ds; } \
  };

template <class T>
NORMA_HOST_DEVICE inline T logistic(T x) {
  return 1 / (1 + elementary::exp(-x));
}
inline constexpr double kSqrtHalf = 0.70710678118654752440;       // 1/sqrt(2)
inline constexpr double kSqrtTwoOverPi = 0.79788456080286535588;  // sqrt(2/pi)
inline constexpr double kGeluCubic = 0.044715;

// gelu, gelu_tanh and silu are x or 0 in all digits far out, and their slopes 1 or 0: what x is there multiplied by is
// 1 or 0, and x itself is cut off, since an infinite one times 0 is NaN.
inline constexpr double kFar = 1024;
template <class T>
NORMA_HOST_DEVICE inline T not_far_below(T x) {
  return x < T(-kFar) ? T(-kFar) : x;
}
template <class T>
NORMA_HOST_DEVICE inline T near_or_zero(T x) {
  return std::abs(x) < T(kFar) ? x : T(0);
}

template <class T>
NORMA_HOST_DEVICE inline T gelu_tanh_inner(T x) {
  return elementary::tanh(T(kSqrtTwoOverPi) * (x + T(kGeluCubic) * x * x * x));
}
template <class T>
NORMA_HOST_DEVICE inline T gelu_tanh_slope(T x) {
  const T t = gelu_tanh_inner(x), z = near_or_zero(x);
  return T(0.5) * (1 + t) + T(0.5) * z * (1 - t * t) * T(kSqrtTwoOverPi) * (1 + 3 * T(kGeluCubic) * z * z);
}

// tanh(softplus(x)) is n / (n + 2) with n = exp(x) (exp(x) + 2). Where x > 0, n and 2 are taken times exp(-2 x), so
// that neither overflows.
template <class T>
struct Mish {
  T gate, rest;  // rest = 1 - gate
  NORMA_HOST_DEVICE explicit Mish(T x) {
    const T e = elementary::exp(-std::abs(x)), n = x > 0 ? 1 + 2 * e : e * (e + 2), two = x > 0 ? 2 * e * e : T(2);
    gate = n / (n + two);
    rest = two / (n + two);
  }
  NORMA_HOST_DEVICE T slope(T x) const { return gate + near_or_zero(x) * rest * (1 + gate) * logistic(x); }
};

NORMA_UNARY(neg, true, -x, -d)
NORMA_UNARY(exp, true, elementary::exp(x), d* s)
NORMA_UNARY(expm1, false, elementary::expm1(x), d* elementary::exp(s))
NORMA_UNARY(log, false, elementary::log(x), d*(1 / s))
NORMA_UNARY(log1p, false, elementary::log1p(x), d*(1 / (1 + s)))
NORMA_UNARY(sin, false, std::sin(x), d* std::cos(s))
NORMA_UNARY(cos, false, std::cos(x), d * -std::sin(s))
NORMA_UNARY(erf, false, elementary::erf(x), d*(T(kSqrtTwoOverPi / kSqrtHalf) * elementary::exp(-s * s)))
NORMA_UNARY(sqrt, true, std::sqrt(x), d*(T(0.5) / s))
NORMA_UNARY(rsqrt, true, 1 / std::sqrt(x), d*(T(-0.5) * s * s * s))
NORMA_UNARY(abs, false, std::abs(x), s == 0 ? T(0) : s < 0 ? -d : d)
NORMA_UNARY(square, false, x* x, d*(2 * s))
NORMA_UNARY(floor, true, std::floor(x), T(0))
NORMA_UNARY(round, true, std::rint(x), T(0))
NORMA_UNARY(sign, true, x != x ? x : T(x > 0) - T(x < 0), T(0))
NORMA_UNARY(clamp, false, (x < a ? a : x) > b ? b : (x < a ? a : x), s<a || s> b ? T(0) : d)
NORMA_UNARY(tanh, true, elementary::tanh(x), d*(1 - s * s))
NORMA_UNARY(sigmoid, true, logistic(x), d*(s*(1 - s)))
NORMA_UNARY(relu, true, x < 0 ? T(0) : x, s <= 0 ? T(0) : d)  // NaN stays NaN
NORMA_UNARY(relu6, true, x<0 ? T(0) : x> 6 ? T(6) : x, s <= 0 || s >= 6 ? T(0) : d)
NORMA_UNARY(leaky_relu, false, x > 0 ? x : a * x, d*(s > 0 ? T(1) : a))
NORMA_UNARY(elu, false, x > 0 ? x : a * elementary::expm1(x), d*(s > 0 ? T(1) : a * elementary::exp(s)))
NORMA_UNARY(softplus, false,
            a* x > b ? x : ((a * x > 0 ? a * x : T(0)) + elementary::log1p(elementary::exp(-std::abs(a * x)))) / a,
            a* s > b ? d : d * logistic(a * s))
NORMA_UNARY(gelu, false, not_far_below(x) * T(0.5) * (1 + elementary::erf(x * T(kSqrtHalf))),
            d*(T(0.5) * (1 + elementary::erf(s * T(kSqrtHalf))) +
               near_or_zero(s) * T(kSqrtTwoOverPi / 2) * elementary::exp(T(-0.5) * s * s)))
NORMA_UNARY(gelu_tanh, false, T(0.5) * not_far_below(x) * (1 + gelu_tanh_inner(x)), d* gelu_tanh_slope(s))
NORMA_UNARY(silu, false, not_far_below(x) * logistic(x), d*(logistic(s) * (1 + near_or_zero(s) * (1 - logistic(s)))))
NORMA_UNARY(mish, false, not_far_below(x) * Mish<T>(x).gate, d* Mish<T>(s).slope(s))
NORMA_UNARY(hardsigmoid, true, x <= -3 ? T(0) : x >= 3 ? T(1) : (x + 3) / 6, s <= 0 || s >= 1 ? T(0) : d / 6)
NORMA_UNARY(hardswish, false, x <= -3 ? T(0) : x * hardsigmoid<T>{}.f(x),
            s <= -3 ? T(0) : d * (s >= 3 ? T(1) : s / 3 + T(0.5)))
#undef NORMA_UNARY

// Calls use(function) with the struct for `f`.
template <class T, class Use>
void choose(Unary f, UnaryParams p, Use use) {
  const T a = static_cast<T>(p.a), b = static_cast<T>(p.b);
#define NORMA_CASE(name) \
  case Unary::name: return use(name<T>{a, b});
  switch (f) {
    NORMA_EACH_UNARY(NORMA_CASE) NORMA_CASE(clamp) NORMA_CASE(leaky_relu) NORMA_CASE(elu) NORMA_CASE(softplus)
  }
#undef NORMA_CASE
}

}  // namespace norma::unary_functions
