// Elementary functions without branches or calls, so that loops over them vectorise, for whatever the loop is compiled
// for (core/simd/vectors.h). In f32: within 2 units in the last place of the true value for every argument, denormals,
// infinities and NaN included. In f64 they are those of the standard library, and do not vectorise.
//
// The polynomials are minimax fits, by Lawson's iteration, of relative errors below 2e-8.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace norma::elementary {

#ifdef __CUDACC__  // the GPU has its own
using std::erf, std::exp, std::expm1, std::log, std::log1p, std::tanh;
#else
#define NORMA_ELEMENTARY [[gnu::always_inline]] inline

NORMA_ELEMENTARY double exp(double x) { return std::exp(x); }
NORMA_ELEMENTARY double expm1(double x) { return std::expm1(x); }
NORMA_ELEMENTARY double log(double x) { return std::log(x); }
NORMA_ELEMENTARY double log1p(double x) { return std::log1p(x); }
NORMA_ELEMENTARY double tanh(double x) { return std::tanh(x); }
NORMA_ELEMENTARY double erf(double x) { return std::erf(x); }

inline constexpr float kLog2High = 0.693145752F, kLog2Low = 1.42860677e-6F;  // n * kLog2High is exact for |n| < 512

// c0 + c1 x + c2 x^2 + ...
NORMA_ELEMENTARY float polynomial(float, float c0) { return c0; }
NORMA_ELEMENTARY float polynomial(float x, float c0, auto... c) { return c0 + x * polynomial(x, c...); }

NORMA_ELEMENTARY float power_of_two(int32_t n) { return std::bit_cast<float>((n + 127) << 23); }  // a normal number

// exp(r) - 1 for x = n log(2) + r with |r| <= log(2) / 2, and n.
NORMA_ELEMENTARY float reduced_expm1(float x, int32_t& power) {
  constexpr float shift = 12582912;  // 1.5 * 2^23: with that added, the last bits are the nearest integer
  const float shifted = x * 1.44269504F + shift, n = shifted - shift, r = x - n * kLog2High - n * kLog2Low;
  power = static_cast<int32_t>(std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(shift));
  return r + r * r * polynomial(r, 0.5F, 0.166665182F, 0.041666206F, 0.00836888235F, 0.00139504764F);
}

NORMA_ELEMENTARY float exp(float argument) {
  const float x = argument > 89 ? 89 : argument < -104 ? -104 : argument;  // where it is infinite, and 0
  int32_t power;
  const float y = 1 + reduced_expm1(x, power);
  // 2^n in two factors: for n = -150 ... 128 it may itself be no normal number.
  const int32_t half = power >> 1;
  return y * power_of_two(half) * power_of_two(power - half);
}

// 2^n (exp(r) - 1) + 2^n - 1, by way of its half, since there is no 2^128.
NORMA_ELEMENTARY float expm1(float argument) {
  const float x = argument > 89 ? 89 : argument < -18 ? -18 : argument;  // where it is infinite, and -1
  int32_t power;
  const float rest = reduced_expm1(x, power), half = power_of_two(power - 1);
  return std::copysign(2 * (half * rest + (half - 0.5F)), argument);
}

// n log(2) + log(1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
NORMA_ELEMENTARY float log(float x) {
  constexpr float least = std::numeric_limits<float>::min(), most = std::numeric_limits<float>::infinity();
  constexpr uint32_t root = 0x3F3504F3;  // the bits of sqrt(1/2)
  const auto bits = std::bit_cast<uint32_t>(x < least ? x * 0x1p23F : x);
  const int32_t power = static_cast<int32_t>(bits - root) >> 23;
  const float n = static_cast<float>(power) - (x < least ? 23.F : 0.F);
  const float f = std::bit_cast<float>(bits - (static_cast<uint32_t>(power) << 23)) - 1;
  const float p = polynomial(f, -0.5F, 0.333333135F, -0.250000089F, 0.200021192F, -0.166679963F, 0.142195508F,
                             -0.124055915F, 0.118881747F, -0.116756409F, 0.0674660131F);
  const float y = n * kLog2High + (f + (f * f * p + n * kLog2Low));
  return x > 0 ? (x < most ? y : x) : x == 0 ? -most : std::numeric_limits<float>::quiet_NaN();
}

// log(u) for u = 1 + x as it is rounded, and the first term of log((1 + x) / u).
NORMA_ELEMENTARY float log1p(float x) {
  const float u = 1 + x, y = log(u);
  return std::copysign(u > 0 && u <= std::numeric_limits<float>::max() ? y + (x - (u - 1)) / u : y, x);
}

NORMA_ELEMENTARY float tanh(float x) {
  const float a = std::abs(x), s = x * x;
  const float near =
      a + a * s * polynomial(s, -0.333332807F, 0.133314416F, -0.0537397154F, 0.0206390899F, -0.00570499059F);
  return std::copysign(a < 0.625F ? near : 1 - 2 / (exp(2 * a) + 1), x);
}

NORMA_ELEMENTARY float erf(float x) {
  const float a = std::abs(x), s = x * x, most = a > 4 ? 4 : a;  // from there on it is 1
  const float near =
      a + a * polynomial(s, 0.12837911F, -0.376125246F, 0.112821415F, -0.0267789345F, 0.00501199299F, -0.000609049457F);
  const float log_of_rest = most * polynomial(most, -1.12863708F, -0.635198057F, -0.106159046F, 0.0236945655F,
                                              -0.00361034204F, 0.000314858102F, -1.04331148e-05F);
  return std::copysign(a < 0.9F ? near : 1 - exp(log_of_rest), x);
}
#undef NORMA_ELEMENTARY
#endif

}  // namespace norma::elementary
