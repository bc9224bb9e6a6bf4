// linear: the fully connected layer as a function of its weights.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// y = x weight^T + bias.  x [..., in], weight [out, in], bias [out] or undefined; y [..., out]. All f32 or all f64, on
// one device, with any strides; extents may be 0. Errors: a weight that is no matrix, an x or a bias that does not fit
// it.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

// All contiguous, x and dx [rows, in], y and dy [rows, out].
NORMA_KERNEL(linear, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y)
// dx (+)= dy weight
NORMA_KERNEL(linear_backward_input, const Tensor& dy, const Tensor& weight, const Tensor& dx, bool add)
// dweight (+)= dy^T x
NORMA_KERNEL(linear_backward_weight, const Tensor& dy, const Tensor& x, const Tensor& dweight, bool add)

}  // namespace norma
