// linear: the fully connected layer as a function of its weights.
#pragma once

#include "norma/core/tensor.h"

namespace norma {

// y = x weight^T + bias.  x [..., in], weight [out, in], bias [out] or undefined; y [..., out]. All f32 or all f64, on
// one device, with any strides; extents may be 0. Errors: a weight that is no matrix, an x or a bias that does not fit
// it.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace norma
