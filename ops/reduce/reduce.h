// Reductions over axes.
//
// `axes` may be negative, counted from the last; none means all. The reduced axes are dropped, or kept with extent 1
// where `keepdim` says so. x is f32 or f64, with any strides, and the result has its dtype. Sums are accumulated in
// double, in an order that does not depend on the number of threads.
// Of no elements, a sum is 0, max and logsumexp are -inf, and min is inf: what changes nothing where parts are merged,
// and what ONNX and JAX have. A mean, a variance and a place there are none.
// Errors: another dtype, an axis out of range or named twice, and no elements to reduce for mean, var and argmax.
#pragma once

#include <concepts>

#include "norma/ops/kernel.h"

namespace norma {

Tensor sum(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
Tensor mean(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
// NaN where an element is. Elements that tie share the gradient equally, as NaNs do; the others get 0, whatever
// arrives.
Tensor max(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
Tensor min(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
// sum((x - mean)^2) / (n - correction), n the number of elements reduced: unbiased with a correction of 1, the variance
// that normalizations use with 0. An error unless n is above `correction`. The mean keeps the digits that x's dtype has
// no room for, and what is squared is in double.
Tensor var(const Tensor& x, const Shape& axes = {}, int64_t correction = 1, bool keepdim = false);
// A truth value behind the axes is `keepdim`, as with the other reductions, and no correction of 1.
template <std::same_as<bool> Flag>
Tensor var(const Tensor& x, const Shape& axes, Flag keepdim) {
  return var(x, axes, 1, keepdim);
}
template <std::same_as<bool> Flag>
Tensor var(const Tensor& x, const Shape& axes, Flag correction, bool keepdim) = delete;
// log(sum(exp(x))), without overflow. The gradient goes to the elements in proportion to exp(x): equally to infinite
// ones, and to none where all are -inf.
Tensor logsumexp(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
// The index (i64) of the largest element along one axis: of the first of those that tie, or of the first NaN. x has any
// dtype. Has no gradient, so it is never recorded.
Tensor argmax(const Tensor& x, int64_t axis, bool keepdim = false);
template <std::same_as<bool> Flag>
Tensor argmax(const Tensor& x, Flag keepdim) = delete;  // the axis is missing

enum class Reduce : uint8_t { sum, max, min, deviation, squared_deviation };

// y = f(x along its middle axis) / divisor.  x [outer, n, inner], y of outer * inner elements, in any shape; both
// contiguous, f32 or f64. The deviations, whose sum or sum of squares is taken in double, are x - high - low: of x's
// dtype and y's number of elements, contiguous; undefined for 0, as they are for the other functions.
NORMA_SIMD_KERNEL(reduce, Reduce f, double divisor, const Tensor& x, const Tensor& high, const Tensor& low,
                  const Tensor& y)
// y (i64) = the index of the largest along x's middle axis.  Shapes as above, n >= 1, x of any dtype.
NORMA_SIMD_KERNEL(argmax, const Tensor& x, const Tensor& y)

}  // namespace norma
