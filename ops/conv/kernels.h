// The convolution kernels of the CPU, and which of them does a convolution: by Conv2dOptions::algorithm, by the
// environment variable NORMA_CONV, or by shape (ops/conv/choose.cc).
#pragma once

#include "norma/core/simd/dispatch.h"
#include "norma/ops/conv/geometry.h"
#include "norma/ops/elementwise/activation.h"

namespace norma::cpu {

// What forward does to its result on the way to memory: y = activation((conv(x) - high) * scale + shift + residual).
struct ConvEpilogue {
  const float *high, *scale, *shift;  // [oc]
  const float* residual;              // [n, oh, ow, oc], or null
  Activation activation;
  bool max_pool = false;  // y is the largest of each 2 x 2 pixels: [n, oh / 2, ow / 2, oc]. Not with a residual.
};

// The three passes. All arrays are contiguous, of the shapes that ConvGeometry says; bias and `after` may be null.
template <class T>
struct ConvPasses {
  void (*forward)(const ConvGeometry& g, const T* x, const T* weight, const T* bias, T* y, const ConvEpilogue* after);
  // dx (+)= the gradient of x; added where `add`.
  void (*backward_input)(const ConvGeometry& g, const T* dy, const T* weight, T* dx, bool add);
  void (*backward_weight)(const ConvGeometry& g, const T* x, const T* dy, T* dw, bool add);
};
using ConvKernel = ConvPasses<float>;

// The vectorised ones, in f32. direct: one group, any kernel, stride, padding and dilation. depthwise: the same with
// one filter a channel, groups = c = oc. winograd and winograd2: 3x3 with stride and dilation 1, one group. F(4x4, 3x3)
// spends 36 multiplications on 16 outputs where the definition spends 144, at 3e-6 to 6e-6 relative error (2e-5 with
// 512 channels); F(2x2, 3x3) 16 on 4 (of 36) at the error of plain loops, and wastes less at the edges of small images.
NORMA_SIMD_LEVELS(extern const ConvKernel direct, depthwise, winograd, winograd2;)

// The windows of the input copied to the rows of a matrix, and matrix products: any geometry, and whatever no
// vectorised kernel does. No epilogue.
extern const ConvPasses<float> im2col_f32;
extern const ConvPasses<double> im2col_f64;

const char* name_of(ConvAlgorithm algorithm);  // as NORMA_CONV has it: "winograd"
// True for `automatic`.
bool can_do(ConvAlgorithm algorithm, const ConvGeometry& geometry, DType dtype);
// The vectorised kernel that does a convolution, or null where that is im2col's. `filters` are the channels that its
// vectors run over: those of y or, in backward_input, of x. An error where NORMA_CONV names no algorithm.
const ConvKernel* vectorised(const ConvGeometry& geometry, DType dtype, int64_t filters);

}  // namespace norma::cpu
