// Losses of two tensors of one shape: means over all elements, as scalars. Made of other ops: there is no kernel here.
#pragma once

#include "norma/core/tensor.h"

namespace norma {

Tensor mse(const Tensor& a, const Tensor& b);  // mean((a - b)^2)
// The cross entropy of target, in [0, 1], and sigmoid(logits), computed without overflow:
// mean(-target log(sigmoid(logits)) - (1 - target) log(1 - sigmoid(logits))).
Tensor bce_with_logits(const Tensor& logits, const Tensor& target);

}  // namespace norma
