// 2-D convolution (cross-correlation, as everywhere in deep learning) of channels-last images.
#pragma once

#include "norma/ops/conv/geometry.h"
#include "norma/ops/kernel.h"
#include "norma/ops/shape/concat.h"
#include "norma/ops/shape/views.h"

namespace norma {

struct Conv2dOptions {
  Pair stride = 1;
  Padding2d padding = 0;  // one number, {h, w}, {top, bottom, left, right}, or Padding2d::same()
  Pair dilation = 1;
  int64_t groups = 1;  // output channels are cut into groups, each sees its share of the input's
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;
  PadMode padding_mode = PadMode::zeros;  // any other is made by pad(): a copy of x, larger by the padding
};

// x [N, H, W, C], weight [C_out, KH, KW, C / groups], bias [C_out] or undefined -> y [N, OH, OW, C_out] with
// OH = (H + top + bottom - dilation (KH - 1) - 1) / stride + 1, rounded down. f32 or f64, any strides; N may be 0.
// Gradients for x, weight and bias.
// On the CPU, 3x3 kernels are mostly computed by Winograd's method. The rounding error of an output is then relative to
// the largest values not of its own window but of all that are read by its tile, 4 x 4 outputs (or 2 x 2) that read
// 6 x 6 pixels (4 x 4): a pixel of 1e8 disturbs outputs up to 4 (2) pixels away, by about 1e-7 of itself times the
// weights, and so it is with the gradient of x. An infinity or a NaN reaches only the outputs whose windows hold it; of
// the weight's gradient it reaches all nine taps. {.algorithm = ConvAlgorithm::direct} does without.
// Errors: dtypes or devices that differ, shapes that do not fit, a kernel larger than the padded input, stride or
// dilation < 1, padding < 0, one of them above kMaxStep (2^31 - 1), groups that do not divide the channels, an
// algorithm that cannot do it, a padding that padding_mode cannot make of so small an image (see pad).
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options = {});

// The same along one axis: x [N, L, C], weight [C_out, K, C / groups] -> y [N, OL, C_out], as images of one row. Of the
// options count the numbers of the second axis: {.padding = 1}, {.padding = {0, 0, before, after}}.
inline Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias, Conv2dOptions options = {}) {
  check(x.rank() == 3 && weight.rank() == 3, "conv1d", "wants input [N, L, C] and a weight of three axes: {}, {}",
        x.shape(), weight.shape());
  options.stride.h = options.dilation.h = 1;
  options.padding.top = options.padding.bottom = 0;
  return squeeze(conv2d(unsqueeze(x, 1), unsqueeze(weight, 1), bias, options), 1);
}

// The seam behind which all convolution stands: its three passes, on contiguous tensors. bias may be undefined. The
// gradients are assigned or, with `add`, added to what is there: dx that of x, dw that of the weight.
NORMA_KERNEL(conv2d_forward, ConvGeometry geometry, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& y)
NORMA_KERNEL(conv2d_backward_input, ConvGeometry geometry, const Tensor& dy, const Tensor& weight, const Tensor& dx,
             bool add)
NORMA_KERNEL(conv2d_backward_weight, ConvGeometry geometry, const Tensor& x, const Tensor& dy, const Tensor& dw,
             bool add)

}  // namespace norma
