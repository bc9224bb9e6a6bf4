// to: a tensor in another dtype or on another device, with its gradient on the way back. The result is a tensor of its
// own on the tape even where nothing changes; it then shares x's data.
#pragma once

#include "norma/core/tensor.h"

namespace norma {

// x in another dtype: floating values are rounded, or cut towards zero where it is an integer one, no further than it
// reaches (core/dtype.h's convert). The gradient is converted back; there is none through an integer or boolean dtype.
Tensor to(const Tensor& x, DType dtype);
// x on another device, of any dtype. Error: this build or this machine lacks the device.
Tensor to(const Tensor& x, Device device);

}  // namespace norma
