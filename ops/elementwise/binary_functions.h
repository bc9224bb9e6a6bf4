// The mathematics of ops/elementwise/binary.h, one struct a function, for CPU and CUDA kernels alike: f(a, b), and what
// an upstream gradient d makes of each operand's, da and db: d times the derivative or, where f does not depend on the
// operand, 0 for any d, infinities and NaN among them.
#pragma once

#include <limits>

#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/unary_functions.h"

namespace norma::binary_functions {

#define NORMA_BINARY(name, f_of_ab, da_of_dab, db_of_dab)                                             \
  template <class T>                                                                                  \
  struct name {                                                                                       \
    NORMA_HOST_DEVICE static T f(T a, T b) { return f_of_ab; }                                        \
    NORMA_HOST_DEVICE static T da([[maybe_unused]] T d, [[maybe_unused]] T a, [[maybe_unused]] T b) { \
      return da_of_dab;                                                                               \
    }                                                                                                 \
    NORMA_HOST_DEVICE static T db([[maybe_unused]] T d, [[maybe_unused]] T a, [[maybe_unused]] T b) { \
      return db_of_dab;                                                                               \
    }                                                                                                 \
  };

// max(a, 0) - a b as a (1 - b) or -a b: 0 where that factor is, which an infinite a would leave open.
template <class T>
NORMA_HOST_DEVICE inline T linear_loss(T a, T b) {
  const T factor = T(a > 0) - b, product = a * factor;
  return factor == 0 ? T(0) : product;
}

// A logarithm, or -100 for what is less: so the loss of a probability of 0 is finite.
template <class T>
NORMA_HOST_DEVICE inline T bounded(T logarithm) {
  return logarithm < -100 ? T(-100) : logarithm;
}

NORMA_BINARY(add, a + b, d, d)
NORMA_BINARY(sub, a - b, d, -d)
NORMA_BINARY(mul, a* b, d* b, d* a)
NORMA_BINARY(div, a / b, d*(1 / b), d*(-a / b / b))
NORMA_BINARY(pow, std::pow(a, b), b == 0 ? T(0) : d * (b * std::pow(a, b - 1)),
             (a == 0 && b >= 0) || (a > std::numeric_limits<T>::max() && b < 0) ? T(0)
                                                                                : d * (std::pow(a, b) * std::log(a)))
// A NaN in either operand is the result. Equal operands get half of the gradient each.
NORMA_BINARY(minimum, a<b || a != a ? a : b, a> b ? T(0) : d*(T(1) - T(0.5) * T(a == b)),
             b > a ? T(0) : d * (T(1) - T(0.5) * T(a == b)))
NORMA_BINARY(maximum, a > b || a != a ? a : b, a < b ? T(0) : d * (T(1) - T(0.5) * T(a == b)),
             b < a ? T(0) : d * (T(1) - T(0.5) * T(a == b)))
NORMA_BINARY(mse, (a - b) * (a - b), d*(2 * (a - b)), d*(2 * (b - a)))
NORMA_BINARY(l1, std::abs(a - b), a == b ? T(0) : a > b ? d : a < b ? -d : a - b, da(d, b, a))
NORMA_BINARY(prelu, a > 0 ? a : b * a, a > 0 ? d : d * b, a > 0 ? T(0) : d * a)
// -b log(sigmoid(a)) - (1 - b) log(1 - sigmoid(a)), with an exponential that cannot overflow.
NORMA_BINARY(bce_with_logits, linear_loss(a, b) + std::log1p(std::exp(-std::abs(a))),
             d*(unary_functions::logistic(a) - b), d * -a)
// -b log(a) - (1 - b) log(1 - a); its slope is (a - b) / ((1 - a) a).
NORMA_BINARY(bce, (b - 1) * bounded(std::log1p(-a)) - b * bounded(std::log(a)),
             d*((a - b) / ((1 - a) * a < T(1e-12) ? T(1e-12) : (1 - a) * a)),
             d*(bounded(std::log1p(-a)) - bounded(std::log(a))))
// b (log(b) - a), and of a target b of 0 nothing, whatever a is.
NORMA_BINARY(kl_div, b == 0 ? T(0) : b * (std::log(b) - a), b == 0 ? T(0) : d * -b, d*(bounded(std::log(b)) + 1 - a))
// Whether a is among the elements of which b is the largest or smallest: equal, or the NaN that made b one.
NORMA_BINARY(wins, ((a == b) | (a != a)) ? T(1) : T(0), T(0), T(0))
// a b, and of a weight a of 0 nothing, whatever b is.
NORMA_BINARY(share, a == 0 ? T(0) : a * b, d* b, a == 0 ? T(0) : d * a)
// exp(a - b) for b the largest of the values that a is among: 1 for itself, if only infinite, but 0 where all are -inf.
NORMA_BINARY(exp_below, a == b ? T(b >= std::numeric_limits<T>::lowest()) : elementary::exp(a - b), d* f(a, b),
             -d* f(a, b))
#undef NORMA_BINARY

// Of integers: minimum, maximum, add, sub, mul. The last three wrap.
NORMA_HOST_DEVICE inline int64_t of_integers(Binary f, int64_t a, int64_t b) {
  if (f == Binary::minimum || f == Binary::maximum) return (f == Binary::minimum) == (a < b) ? a : b;
  const auto s = static_cast<uint64_t>(a), t = static_cast<uint64_t>(b);
  return static_cast<int64_t>(f == Binary::add ? s + t : f == Binary::sub ? s - t : s * t);
}

// Calls use(function) with the struct for `f`.
template <class T, class Use>
void choose(Binary f, Use use) {
#define NORMA_CASE(name) \
  case Binary::name: return use(name<T>{});
  switch (f) { NORMA_EACH_BINARY(NORMA_CASE) NORMA_EACH_PART(NORMA_CASE) }
#undef NORMA_CASE
}

}  // namespace norma::binary_functions
