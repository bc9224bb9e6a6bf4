// Reductions over axes. `axes` may be negative; none means all. The reduced axes are dropped, or kept with extent 1
// where `keepdim` says so. Sums are accumulated in double.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

Tensor sum(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
Tensor mean(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
// A NaN is the result where there is one. Elements that tie share the gradient equally.
Tensor max(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
Tensor min(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
// sum((x - mean)^2) / (n - correction), n the number of elements reduced: unbiased with a correction of 1, the variance
// that normalizations use with 0. n must be above `correction`.
Tensor var(const Tensor& x, const Shape& axes = {}, int64_t correction = 1, bool keepdim = false);
// log(sum(exp(x))), without overflow.
Tensor logsumexp(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
// The index (i64) of the largest element along one axis: of the first of those that tie, of a NaN if there is one. x
// has any dtype; never recorded.
Tensor argmax(const Tensor& x, int64_t axis, bool keepdim = false);

enum class Reduce : uint8_t { sum, max, min };

// y = f(x along its middle axis) / divisor.  x [outer, n, inner], y [outer, inner], both contiguous.
NORMA_SIMD_KERNEL(reduce, Reduce f, double divisor, const Tensor& x, const Tensor& y)
// y (i64) = the index of the largest.  Shapes as above, n >= 1.
NORMA_SIMD_KERNEL(argmax, const Tensor& x, const Tensor& y)

}  // namespace norma
