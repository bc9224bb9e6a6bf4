// Convolution by Winograd's minimal filtering on the CPU (3x3, stride 1, f32). Behind the seam of ops/conv2d.h.
#pragma once

#include "norma/ops/conv2d.h"

namespace norma::cpu {

// Contiguous arrays; bias may be null. F(4x4, 3x3) spends 36 multiplications on 16 outputs where the definition spends
// 144, at 3e-6 to 6e-6 relative error; F(2x2, 3x3) 16 on 4 (of 36) at that of plain loops, and wastes less at the edges
// of small images.
struct Winograd {
  int tile;  // 4 or 2

  static bool can(const ConvGeometry& g);  // 3x3, stride 1, dilation 1, one group

  void forward(const ConvGeometry& g, const float* x, const float* weight, const float* bias, float* y) const;
  void data(const ConvGeometry& g, const float* dy, const float* weight, float* dx, bool add) const;
  void weights(const ConvGeometry& g, const float* x, const float* dy, float* dw, bool add) const;
};

}  // namespace norma::cpu
