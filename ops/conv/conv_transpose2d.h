// Transposed 2-D convolution: conv2d's gradient of its input as an operation of its own, used to upsample (Zeiler et
// al., "Deconvolutional networks", 2010).
#pragma once

#include "norma/core/tensor.h"

namespace norma {

struct ConvTranspose2dOptions {
  Pair stride = 1, padding = 0;  // padding: of that conv2d, zeros, as many on either side
  // Rows and columns added at the end. Where stride > 1, conv2d maps several sizes to one: this says which is meant.
  Pair output_padding = 0;
  Pair dilation = 1;
  int64_t groups = 1;
};

// x [N, H, W, C_in], weight [C_in, KH, KW, C_out / groups], bias [C_out] or undefined -> y [N, OH, OW, C_out] with
// OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1. f32 or f64, any strides; N may be 0.
// Gradients for x, weight and bias.
// Errors: dtypes or devices that differ, shapes that do not fit, an output without pixels, stride or dilation < 1,
// padding < 0, one of them above kMaxStep (2^31 - 1), output_padding not smaller than stride or dilation, groups that
// do not divide C_in.
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options = {});

}  // namespace norma
