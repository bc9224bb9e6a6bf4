// The vectorised convolution kernels of the CPU, in f32, behind the seam of ops/conv/conv2d.h.
#pragma once

#include "norma/core/simd/dispatch.h"
#include "norma/ops/conv/conv2d.h"
#include "norma/ops/elementwise/activation.h"

namespace norma::cpu {

// What follows on the way to memory: y = f((conv(x) - high) * scale + shift + residual). [C_out] each, and [y].
struct ConvEpilogue {
  const float *high, *scale, *shift;
  const float* residual;  // may be null
  Activation activation;
  bool max_pool = false;  // y [n, oh / 2, ow / 2, oc] is the largest of each 2 x 2 pixels of that; without a residual
};

// Contiguous arrays; bias and `after` may be null.
struct ConvKernel {
  void (*forward)(const ConvGeometry& g, const float* x, const float* weight, const float* bias, float* y,
                  const ConvEpilogue* after);
  void (*data)(const ConvGeometry& g, const float* dy, const float* weight, float* dx, bool add);
  void (*weights)(const ConvGeometry& g, const float* x, const float* dy, float* dw, bool add);
};

// direct: any kernel, stride, padding and dilation; one group, or one filter a channel (depthwise).
// winograd and winograd2: 3x3 with stride and dilation 1, one group. F(4x4, 3x3) spends 36 multiplications on 16
// outputs where the definition spends 144, at 3e-6 to 6e-6 relative error (2e-5 with 512 channels); F(2x2, 3x3) 16 on 4
// (of 36) at that of plain loops, and wastes less at the edges of small images.
NORMA_SIMD_LEVELS(extern const ConvKernel direct, winograd, winograd2;)

// The one that does a convolution by its options, $NORMA_CONV, or its shape; null where that is none of these.
// `filters` are the channels that its vectors run over: those of y or, for the data gradient, of x.
const ConvKernel* vectorised(const ConvGeometry& g, DType dtype, int64_t filters);

}  // namespace norma::cpu
