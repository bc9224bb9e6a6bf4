// Elementwise functions of two tensors, which broadcast as in numpy (axes aligned at the end, extents equal or 1), and
// comparisons. A number on either side stands for a tensor of no axes.
#pragma once

#include "norma/ops/elementwise/unary.h"

namespace norma {

#define NORMA_EACH_BINARY(X) X(add) X(sub) X(mul) X(div) X(pow) X(minimum) X(maximum)
#define NORMA_EACH_LOSS(X) X(mse) X(l1) X(bce_with_logits) X(bce) X(kl_div)  // ops/reduce/loss.h
#define NORMA_NAME(name) name,
// The last are parts of reductions; ops/elementwise/binary_functions.h has their formulas.
enum class Binary : uint8_t { NORMA_EACH_BINARY(NORMA_NAME) NORMA_EACH_LOSS(NORMA_NAME) wins, share, exp_below };
#undef NORMA_NAME

// f(a, b), recorded as `name`: what the functions below are, and what a loss of two tensors starts from. Of two tensors
// on one device, both f32 or both f64. The result is contiguous, of their dtype and the broadcast shape. Errors:
// another dtype, two dtypes or devices, shapes that do not broadcast.
Tensor elementwise(const char* name, Binary f, const Tensor& a, const Tensor& b);
Tensor elementwise(const char* name, Binary f, const Tensor& a, double b);
Tensor elementwise(const char* name, Binary f, double a, const Tensor& b);

#define NORMA_BINARY(name)                                                                                \
  inline Tensor name(const Tensor& a, const Tensor& b) { return elementwise(#name, Binary::name, a, b); } \
  inline Tensor name(const Tensor& a, double b) { return elementwise(#name, Binary::name, a, b); }        \
  inline Tensor name(double a, const Tensor& b) { return elementwise(#name, Binary::name, a, b); }
NORMA_BINARY(add)
NORMA_BINARY(sub)
NORMA_BINARY(mul)
NORMA_BINARY(div)
NORMA_BINARY(pow)      // a^b; the gradient of b is 0 where a = 0 and b >= 0, that of a where b = 0
NORMA_BINARY(minimum)  // a NaN wins; equal operands get half of the gradient each, the larger one 0 whatever arrives
NORMA_BINARY(maximum)
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

enum class Compare : uint8_t { eq, ne, lt, le, gt, ge };

// Of two tensors on one device and of one dtype, any; the result is boolean, of the broadcast shape, and never
// recorded. A number is compared in the dtype of a floating tensor, and with any other tensor in f64. Errors: two
// dtypes or devices, shapes that do not broadcast.
Tensor compare(const char* name, Compare f, const Tensor& a, const Tensor& b);
Tensor compare(const char* name, Compare f, const Tensor& a, double b);
#define NORMA_EACH_COMPARE(X) X(eq) X(ne) X(lt) X(le) X(gt) X(ge)
#define NORMA_COMPARE(name)                                                                            \
  inline Tensor name(const Tensor& a, const Tensor& b) { return compare(#name, Compare::name, a, b); } \
  inline Tensor name(const Tensor& a, double b) { return compare(#name, Compare::name, a, b); }
NORMA_EACH_COMPARE(NORMA_COMPARE)
#undef NORMA_COMPARE

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
