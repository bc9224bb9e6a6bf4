// The mathematics of ops/elementwise/binary.h, one struct a function, for CPU and CUDA kernels alike: f(a, b) and its
// derivatives da and db in each operand.
#pragma once

#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/unary_functions.h"

namespace norma::binary_functions {

#define NORMA_BINARY(name, f_of_ab, da_of_ab, db_of_ab)                                            \
  template <class T>                                                                               \
  struct name {                                                                                    \
    NORMA_HOST_DEVICE static T f(T a, T b) { return f_of_ab; }                                     \
    NORMA_HOST_DEVICE static T da([[maybe_unused]] T a, [[maybe_unused]] T b) { return da_of_ab; } \
    NORMA_HOST_DEVICE static T db([[maybe_unused]] T a, [[maybe_unused]] T b) { return db_of_ab; } \
  };

NORMA_BINARY(add, a + b, T(1), T(1))
NORMA_BINARY(sub, a - b, T(1), T(-1))
NORMA_BINARY(mul, a* b, b, a)
NORMA_BINARY(div, a / b, 1 / b, -a / b / b)
NORMA_BINARY(pow, std::pow(a, b), b == 0 ? T(0) : b * std::pow(a, b - 1),
             a == 0 && b >= 0 ? T(0) : std::pow(a, b) * std::log(a))
// A NaN in either operand is the result. Equal operands get half of the gradient each.
NORMA_BINARY(minimum, a < b || a != a ? a : b, T(!(a > b)) - T(0.5) * T(a == b), T(!(b > a)) - T(0.5) * T(a == b))
NORMA_BINARY(maximum, a > b || a != a ? a : b, T(!(a < b)) - T(0.5) * T(a == b), T(!(b < a)) - T(0.5) * T(a == b))
NORMA_BINARY(squared_difference, (a - b) * (a - b), 2 * (a - b), 2 * (b - a))
// -b log(sigmoid(a)) - (1 - b) log(1 - sigmoid(a)), with an exponential that cannot overflow.
NORMA_BINARY(bce_with_logits, (a > 0 ? a : T(0)) - a * b + std::log1p(std::exp(-std::abs(a))),
             unary_functions::logistic(a) - b, -a)
#undef NORMA_BINARY

// Calls use(function) with the struct for `f`.
template <class T, class Use>
void choose(Binary f, Use use) {
#define NORMA_CASE(name) \
  case Binary::name: return use(name<T>{});
  switch (f) { NORMA_EACH_BINARY(NORMA_CASE) NORMA_CASE(squared_difference) NORMA_CASE(bce_with_logits) }
#undef NORMA_CASE
}

}  // namespace norma::binary_functions
