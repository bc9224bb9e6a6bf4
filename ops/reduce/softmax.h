// softmax and its logarithm, along any one axis. See ops/reduce/cross_entropy.h for the loss that contains them.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// x is f32 or f64, of at least one axis, with any strides; the result has its shape and dtype. `axis` may be negative,
// counted from the last. A row in which all is -inf, or something +inf, has no such distribution: it is NaN. Errors:
// another dtype, an axis out of range.
Tensor softmax(const Tensor& x, int64_t axis = -1);      // exp(x) / sum(exp(x)), without overflow
Tensor log_softmax(const Tensor& x, int64_t axis = -1);  // x - log(sum(exp(x)))

// y = softmax(x), or its logarithm, along the last axis.  All of one shape, contiguous, not empty.
NORMA_SIMD_KERNEL(softmax, bool log, const Tensor& x, const Tensor& y)
// dx (+)= y (dy - sum(dy y)) for softmax, dy - exp(y) sum(dy) for its logarithm.
NORMA_SIMD_KERNEL(softmax_backward, bool log, const Tensor& dy, const Tensor& y, const Tensor& dx, bool add)

}  // namespace norma
