// Reductions over axes.
//
// `axes` may be negative, counted from the last; none means all. The reduced axes are dropped, or kept with extent 1
// where `keepdim` says so. x is f32 or f64, with any strides, and the result has its dtype. Sums are accumulated in
// double, in an order that does not depend on the number of threads.
// Errors: another dtype, an axis out of range or named twice, and, except for `sum`, no elements to reduce.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

Tensor sum(const Tensor& x, const Shape& axes = {}, bool keepdim = false);  // 0 where there are no elements
Tensor mean(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
// NaN where an element is. Elements that tie share the gradient equally.
Tensor max(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
Tensor min(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
// sum((x - mean)^2) / (n - correction), n the number of elements reduced: unbiased with a correction of 1, the variance
// that normalizations use with 0. An error unless n is above `correction`.
Tensor var(const Tensor& x, const Shape& axes = {}, int64_t correction = 1, bool keepdim = false);
// log(sum(exp(x))), without overflow.
Tensor logsumexp(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
// The index (i64) of the largest element along one axis: of the first of those that tie, or of the first NaN. x has any
// dtype. Has no gradient, so it is never recorded.
Tensor argmax(const Tensor& x, int64_t axis, bool keepdim = false);

enum class Reduce : uint8_t { sum, max, min };

// y = f(x along its middle axis) / divisor.  x [outer, n, inner], y of outer * inner elements, in any shape; both
// contiguous, f32 or f64.
NORMA_SIMD_KERNEL(reduce, Reduce f, double divisor, const Tensor& x, const Tensor& y)
// y (i64) = the index of the largest along x's middle axis.  Shapes as above, n >= 1, x of any dtype.
NORMA_SIMD_KERNEL(argmax, const Tensor& x, const Tensor& y)

}  // namespace norma
