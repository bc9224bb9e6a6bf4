// Losses of two tensors of one shape: means over all elements, as scalars (shape []). Made of the kernels of
// other ops. The loss of a classifier is in ops/reduce/cross_entropy.h.
#pragma once

#include "norma/core/tensor.h"

namespace norma {

// Both: two tensors of one shape, f32 or f64, on one device, with at least one element; all else is an error. Both
// arguments have gradients.
Tensor mse(const Tensor& a, const Tensor& b);  // mean((a - b)^2)
// The cross entropy of sigmoid(logits) against target, which is in [0, 1] (not checked):
// mean(-target log(sigmoid(logits)) - (1 - target) log(1 - sigmoid(logits))), computed without overflow: 0 at (inf, 1)
// and at (-inf, 0), inf at other targets of infinite logits.
Tensor bce_with_logits(const Tensor& logits, const Tensor& target);

}  // namespace norma
