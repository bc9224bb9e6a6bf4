// 2-D convolution (cross-correlation, as everywhere in deep learning) of channels-last images.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// On the CPU. Where the options say `automatic`, the environment variable NORMA_CONV=reference|im2col|... may name
// another, which is then used wherever it can be.
enum class ConvAlgorithm : uint8_t {
  automatic,  // by shape
  reference,  // plain loops: slow, what the others are tested against
  im2col,     // windows copied to the rows of a matrix, then matrix products
  direct,     // windows read where they are: f32, groups = 1 or depthwise (groups = C_in = C_out)
  winograd,   // F(4x4, 3x3): f32, 3x3 of stride and dilation 1, groups = 1
  winograd2,  // F(2x2, 3x3), likewise: saves less, but also on the smallest images, and is as exact as the others
};

struct Conv2dOptions {
  Pair stride = 1, padding = 0, dilation = 1;  // padding: zeros on each side
  int64_t groups = 1;  // output channels are cut into groups, each sees its share of the input's
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;
};

// x [N, H, W, C], weight [C_out, KH, KW, C / groups], bias [C_out] or undefined -> y [N, OH, OW, C_out] with
// OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1, rounded down. f32 or f64, any strides; N may be 0.
// Errors: shapes that do not fit, a kernel larger than the padded input, stride or dilation < 1, padding < 0, groups
// that do not divide the channels, an algorithm that cannot do it.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options = {});

// The seam behind which all convolution stands. x [n, h, w, c], weight [oc, kh, kw, c / groups], y [n, oh, ow, oc].
// oh and ow may be smaller than what h and w would give: the rest of the input is not looked at.
struct ConvGeometry {
  int64_t n, h, w, c, oh, ow, oc, kh, kw;
  Pair stride, padding, dilation;
  int64_t groups;
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;
};

// All contiguous. bias may be undefined. The gradients: dx (+)= that of y = conv(x), dw (+)= that of the weight.
NORMA_KERNEL(conv2d_forward, ConvGeometry geometry, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& y)
NORMA_KERNEL(conv2d_data, ConvGeometry geometry, const Tensor& dy, const Tensor& weight, const Tensor& dx, bool add)
NORMA_KERNEL(conv2d_weights, ConvGeometry geometry, const Tensor& x, const Tensor& dy, const Tensor& dw, bool add)

class Op;
// Checks the arguments of conv2d.
ConvGeometry conv2d_geometry(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                             const Conv2dOptions& options);
// What conv2d and conv_transpose2d both ask of their arguments: dtypes, ranks, ranges.
void check_convolution(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias, Pair stride,
                       Pair padding, Pair dilation, int64_t groups);

}  // namespace norma
