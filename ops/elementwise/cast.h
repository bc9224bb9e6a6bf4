// to: a tensor in another dtype or on another device, with its gradient on the way back. The result is a tensor of its
// own on the tape even where nothing changes; it then shares x's data.
#pragma once

#include "norma/core/tensor.h"

namespace norma {

Tensor to(const Tensor& x, DType dtype);  // rounds; the gradient stops at an integer dtype
Tensor to(const Tensor& x, Device device);

}  // namespace norma
