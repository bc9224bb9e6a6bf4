// linear: the fully connected layer.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// y = x weight^T + bias.  x [..., in], weight [out, in], bias [out] or undefined; y [..., out].
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

// All contiguous, x [rows, in], y [rows, out].
NORMA_KERNEL(linear, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y)
// dx (+)= dy weight
NORMA_KERNEL(linear_backward_x, const Tensor& dy, const Tensor& weight, const Tensor& dx, bool add)
// dweight (+)= dy^T x
NORMA_KERNEL(linear_backward_weight, const Tensor& dy, const Tensor& x, const Tensor& dweight, bool add)

}  // namespace norma
