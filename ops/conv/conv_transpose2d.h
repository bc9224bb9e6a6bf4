// Transposed 2-D convolution: the data gradient of conv2d as an operation of its own, used to upsample (Zeiler et al.,
// "Deconvolutional networks", 2010).
#pragma once

#include "norma/core/tensor.h"

namespace norma {

struct ConvTranspose2dOptions {
  Pair stride = 1, padding = 0;
  Pair output_padding =
      0;  // rows and columns added at the end: which of the sizes that conv2d maps to H and W is meant
  Pair dilation = 1;
  int64_t groups = 1;
};

// x [N, H, W, C_in], weight [C_in, KH, KW, C_out / groups], bias [C_out] or undefined -> y [N, OH, OW, C_out] with
// OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1. f32 or f64, any strides; N may be 0.
// Errors: shapes that do not fit, an output without pixels, stride or dilation < 1, padding < 0, output_padding not
// smaller than stride or dilation, groups that do not divide C_in.
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options = {});

}  // namespace norma
