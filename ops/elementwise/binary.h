// Elementwise functions of two tensors, which broadcast as in numpy (axes aligned at the end, extents equal or 1), and
// comparisons. A number on either side stands for a tensor of no axes.
#pragma once

#include "norma/ops/elementwise/unary.h"

namespace norma {

#define NORMA_EACH_BINARY(X) X(add) X(sub) X(mul) X(div) X(pow) X(minimum) X(maximum)
// Losses (ops/reduce/loss.h) and parts of other ops; ops/elementwise/binary_functions.h has their formulas.
#define NORMA_EACH_PART(X) X(mse) X(l1) X(bce_with_logits) X(bce) X(kl_div) X(prelu) X(wins) X(share) X(exp_below)
enum class Binary : uint8_t { NORMA_EACH_BINARY(NORMA_NAME) NORMA_EACH_PART(NORMA_NAME) };

// f(a, b), recorded as `name`: what the functions below are, and what a loss of two tensors starts from. Of two tensors
// on one device, both f32 or both f64 or, for add, sub, mul, minimum and maximum, both i64, where the results wrap. The
// result is contiguous, of their dtype and the broadcast shape. Errors: another dtype, two dtypes or devices, shapes
// that do not broadcast, and beside a tensor of i64 a number that is none.
Tensor elementwise(const char* name, Binary f, const Tensor& a, const Tensor& b);
Tensor elementwise(const char* name, Binary f, const Tensor& a, double b);
Tensor elementwise(const char* name, Binary f, double a, const Tensor& b);

#define NORMA_BINARY(name)                                                                                \
  inline Tensor name(const Tensor& a, const Tensor& b) { return elementwise(#name, Binary::name, a, b); } \
  inline Tensor name(const Tensor& a, double b) { return elementwise(#name, Binary::name, a, b); }        \
  inline Tensor name(double a, const Tensor& b) { return elementwise(#name, Binary::name, a, b); }
// Tensor name(const Tensor& a, const Tensor& b) for each of them, and with a number for either:
//   add, sub, mul, div  also as operators
//   pow                 a^b; the gradient of b is 0 where a = 0 and b >= 0, that of a where b = 0
//   minimum, maximum    a NaN wins; equal operands get half of the gradient each, the one that loses 0 whatever arrives
NORMA_EACH_BINARY(NORMA_BINARY)
#undef NORMA_BINARY

inline Tensor operator-(const Tensor& x) { return neg(x); }
#define NORMA_OPERATOR(symbol, name)                                                     \
  inline Tensor operator symbol(const Tensor& a, const Tensor& b) { return name(a, b); } \
  inline Tensor operator symbol(const Tensor& a, double b) { return name(a, b); }        \
  inline Tensor operator symbol(double a, const Tensor& b) { return name(a, b); }
NORMA_OPERATOR(+, add)
NORMA_OPERATOR(-, sub)
NORMA_OPERATOR(*, mul)
NORMA_OPERATOR(/, div)
#undef NORMA_OPERATOR

// x > 0 ? x : weight x, f32 or f64, with a slope for each channel: x [..., C], weight [C] or [1] (He et al. 2015) or
// whatever else broadcasts. The gradient of x at 0 is that of the slope.
inline Tensor prelu(const Tensor& x, const Tensor& weight) { return elementwise("prelu", Binary::prelu, x, weight); }

#define NORMA_EACH_COMPARE(X) X(eq) X(ne) X(lt) X(le) X(gt) X(ge) X(logical_and) X(logical_or) X(logical_xor)
enum class Compare : uint8_t { NORMA_EACH_COMPARE(NORMA_NAME) };

// Tensor name(const Tensor& a, const Tensor& b) for each of them, and with a number for b:
//   eq, ne, lt, le, gt, ge                comparisons
//   logical_and, logical_or, logical_xor  of truth values, as which 0 is false and all else, NaN too, true
// Of two tensors on one device and of one dtype, any; the result is boolean, of the broadcast shape, and never
// recorded. A number is compared in the tensor's dtype or, where that is not floating and lacks the number, in f64.
// Errors: two dtypes or devices, shapes that do not broadcast.
//
// They are no operators: to containers and tests, == says that two handles are the same; ! reads as "there is no
// tensor"; and && and || would evaluate both sides.
Tensor compare(const char* name, Compare f, const Tensor& a, const Tensor& b);
Tensor compare(const char* name, Compare f, const Tensor& a, double b);
#define NORMA_COMPARE(name)                                                                            \
  inline Tensor name(const Tensor& a, const Tensor& b) { return compare(#name, Compare::name, a, b); } \
  inline Tensor name(const Tensor& a, double b) { return compare(#name, Compare::name, a, b); }
NORMA_EACH_COMPARE(NORMA_COMPARE)
#undef NORMA_COMPARE
// x = 0
inline Tensor logical_not(const Tensor& x) { return compare("logical_not", Compare::eq, x, 0); }
// Whether an element is NaN: x of any dtype.
inline Tensor isnan(const Tensor& x) { return compare("isnan", Compare::ne, x, x); }
Tensor isinf(const Tensor& x);     // |x| = inf; x is f32 or f64
Tensor isfinite(const Tensor& x);  // |x| < inf, which is false of NaN; x is f32 or f64

// The gradient of an operand of `shape` that was broadcast to x's: x summed over the axes it was repeated along. Not
// recorded; x itself where nothing was repeated. x is f32 or f64. Error: `shape` does not broadcast to x's.
Tensor sum_to(const Tensor& x, const Shape& shape);

// y = f(a, b).  a, b broadcast to y's shape, any strides; y contiguous, and maybe a itself.
NORMA_KERNEL(binary, Binary f, const Tensor& a, const Tensor& b, const Tensor& y)
// dx (+)= dy * (side == 0 ? df/da : df/db), 0 where f is constant in that operand.  dx contiguous, to
// whose shape dy, a and b broadcast. Operands that the derivative does not depend on may be anything of that shape.
NORMA_KERNEL(binary_backward, Binary f, int side, const Tensor& dy, const Tensor& a, const Tensor& b, const Tensor& dx,
             bool add)
// y = a ? b, y boolean.
NORMA_KERNEL(compare, Compare f, const Tensor& a, const Tensor& b, const Tensor& y)

}  // namespace norma
