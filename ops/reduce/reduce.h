// Reductions over axes, and what else has an order along an axis.
//
// `axes` may be negative, counted from the last; none means all. The reduced axes are dropped, or kept with extent 1
// where `keepdim` says so. x is f32 or f64, with any strides, and the result has its dtype. Sums are accumulated in
// double, in an order that does not depend on the number of threads.
// Of no elements, a sum is 0, a product 1, max and logsumexp are -inf, and min is inf: what changes nothing where parts
// are merged, and what ONNX and JAX have. A mean, a variance and a place there are none.
// Errors: another dtype, an axis out of range or named twice, and no elements to reduce for mean, var and argmax.
#pragma once

#include <concepts>

#include "norma/core/host_device.h"
#include "norma/ops/kernel.h"

namespace norma {

// Tensor name(const Tensor& x, const Shape& axes = {}, bool keepdim = false) for each of them:
//   sum        the sum; of i64, u8 and bool, too: in i64, without rounding; it wraps
//   mean       the mean; of these, too: in f32. The accuracy of a classifier is mean(eq(argmax(logits, -1), labels)).
//   prod       the product, taken in double; gradients are the products of the others, also where there are zeros
//   max, min   NaN where an element is. Elements that tie share the gradient equally, as NaNs do; the others get 0,
//              whatever arrives. x may have any dtype; of no integers there is none.
//   any        whether an element is true: x is bool; false of none. Not recorded.
//   all        whether each element is true: x is bool; true of none. Not recorded.
//   logsumexp  log(sum(exp(x))), without overflow. The gradient goes to the elements in proportion to exp(x): equally
//              to infinite ones, and to none where all are -inf.
//   argmax     the index (i64) of the largest element along an axis; of several or all axes, its row-major one among
//              theirs. Of the first of those that tie, or of the first NaN. x has any dtype. Not recorded.
//   argmin     that of the smallest
#define NORMA_EACH_REDUCTION(X) X(sum) X(mean) X(prod) X(max) X(min) X(any) X(all) X(logsumexp) X(argmax) X(argmin)
#define NORMA_REDUCTION(name) Tensor name(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
NORMA_EACH_REDUCTION(NORMA_REDUCTION)
#undef NORMA_REDUCTION

// What var and stddev are, recorded as `name`; `root`: the latter.
Tensor variance(const char* name, bool root, const Tensor& x, const Shape& axes, int64_t correction, bool keepdim);

// Tensor name(const Tensor& x, const Shape& axes = {}, int64_t correction = 1, bool keepdim = false) for both:
//   var     sum((x - mean)^2) / (n - correction), n the number of elements reduced: unbiased with a correction of 1,
//           and with 0 the variance that normalizations use. The mean keeps the digits that x's dtype has no room for,
//           and what is squared is in double.
//   stddev  its square root (`std` is C++'s); the gradient is 0 where all are equal
// An error unless n is above `correction`. A truth value behind the axes is `keepdim`, as with the other reductions,
// and no correction of 1.
#define NORMA_VARIANCE(name, root)                                                                            \
  inline Tensor name(const Tensor& x, const Shape& axes = {}, int64_t correction = 1, bool keepdim = false) { \
    return variance(#name, root, x, axes, correction, keepdim);                                               \
  }                                                                                                           \
  Tensor name(const Tensor& x, const Shape& axes, std::same_as<bool> auto keepdim) {                          \
    return name(x, axes, 1, keepdim);                                                                         \
  }                                                                                                           \
  Tensor name(const Tensor& x, const Shape& axes, std::same_as<bool> auto correction, bool keepdim) = delete;
NORMA_VARIANCE(var, false)
NORMA_VARIANCE(stddev, true)
#undef NORMA_VARIANCE

// sum(|x|^p)^(1/p), or the largest |x| for p = infinity: called so as in torch.linalg and the array API, since `norm`
// (ops/norm/norm.h) normalizes. Finite wherever the result is. The gradient is 0 where all are 0. Errors: p <= 0 or
// NaN.
Tensor vector_norm(const Tensor& x, double p = 2, const Shape& axes = {}, bool keepdim = false);

struct TopK {
  Tensor values, indices;
};
// The k largest or smallest elements along an axis, in their order, and their indices (i64): of those that tie, the
// first. NaN counts as larger than all numbers, as in PyTorch. Both have k in place of the axis's extent; x has any
// dtype. The gradient goes where the values came from. Error: k outside of [0, extent].
TopK topk(const Tensor& x, int64_t k, int64_t axis = -1, bool largest = true);

// y[..., i, ...] = x[..., 0, ...] + ... + x[..., i, ...] along the axis. Of i64, u8 and bool, too: in i64,
// exact up to 2^53.
Tensor cumsum(const Tensor& x, int64_t axis);

enum class Reduce : uint8_t { sum, max, min, deviation, squared_deviation };

// y = f(x along its middle axis) / divisor.  x [outer, n, inner], y of outer * inner elements, in any shape; both
// contiguous, f32 or f64. The deviations, whose sum or sum of squares is taken in double, are x - high - low: of x's
// dtype and y's number of elements, contiguous; undefined for 0, as they are for the other functions.
// x may also be i64 or u8, and y i64, for f = sum, max or min and no division.
NORMA_SIMD_KERNEL(reduce, Reduce f, double divisor, const Tensor& x, const Tensor& high, const Tensor& low,
                  const Tensor& y)
// y[o, k, i] = x[o, 0, i] + ... + x[o, k, i]; `reverse`: x[o, k, i] and those behind it.  Both
// [outer, n, inner], contiguous, f32 or f64. In double.
NORMA_KERNEL(scan, bool reverse, const Tensor& x, const Tensor& y)
// y[o, i, :] (i64) = the places along x's middle axis of what comes first there.  x [outer, n, inner] of any dtype, y
// [outer, inner, k], k <= n; contiguous.
NORMA_KERNEL(topk, bool largest, bool nan_first, const Tensor& x, const Tensor& y)

// Whether x[i] comes before x[j]: larger, or smaller, or the first of those that tie.
template <class T>
struct Before {
  const T* x;
  int64_t step;
  bool largest, nan_first;
  NORMA_HOST_DEVICE bool operator()(int64_t i, int64_t j) const {
    const T a = x[i * step], b = x[j * step];
    if (a == b || (a != a && b != b)) return i < j;
    return a != a || b != b ? nan_first == (a != a) : largest == (a > b);
  }
};

}  // namespace norma
