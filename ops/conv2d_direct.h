// Convolution by a list of taps on the CPU (f32). Behind the seam of ops/conv2d.h.
#pragma once

#include "norma/ops/conv2d.h"

namespace norma::cpu {

// Contiguous arrays; bias may be null. Any kernel, stride, padding and dilation.
struct Direct {
  static bool can(const ConvGeometry& g);  // one group, or one filter a channel (depthwise)

  static void forward(const ConvGeometry& g, const float* x, const float* weight, const float* bias, float* y);
  static void data(const ConvGeometry& g, const float* dy, const float* weight, float* dx, bool add);
  static void weights(const ConvGeometry& g, const float* x, const float* dy, float* dw, bool add);
};

}  // namespace norma::cpu
