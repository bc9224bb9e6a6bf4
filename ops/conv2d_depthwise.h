// Depthwise convolution on the CPU (groups = C = C_out), vectorised over the channels. Behind the seam of ops/conv2d.h.
#pragma once

#include "norma/ops/conv2d.h"

namespace norma::cpu {

// Contiguous arrays, T float or double; bias may be null.
template <class T>
struct Depthwise {
  static void forward(const ConvGeometry& g, const T* x, const T* weight, const T* bias, T* y);
  static void data(const ConvGeometry& g, const T* dy, const T* weight, T* dx, bool add);
  static void weights(const ConvGeometry& g, const T* x, const T* dy, T* dw, bool add);
};

}  // namespace norma::cpu
