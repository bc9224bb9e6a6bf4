// where: a choice between two tensors, element by element.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// condition ? a : b.  condition is boolean, a and b have one dtype, any; the three broadcast, and the result,
// contiguous, has a's dtype and the broadcast shape. Gradients go where the values came from. Errors: a condition that
// is not boolean, two dtypes or devices, shapes that do not broadcast.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

// `value` where the mask is true, else x: where(mask, value, x).
Tensor masked_fill(const Tensor& x, const Tensor& mask, double value);
// x [..., R, C] on and above (triu), or on and below (tril), the diagonal where column - row is `diagonal`; elsewhere
// 0, whatever x is there. x of any dtype. Error: fewer than two axes.
Tensor triu(const Tensor& x, int64_t diagonal = 0);
Tensor tril(const Tensor& x, int64_t diagonal = 0);

// condition, a, b broadcast to y's shape, any strides; y contiguous.
NORMA_KERNEL(where, const Tensor& condition, const Tensor& a, const Tensor& b, const Tensor& y)

}  // namespace norma
