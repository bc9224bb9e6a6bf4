// Convolution as matrix products on the CPU: the windows of the input become the rows of a matrix. Behind the seam of
// ops/conv/conv2d.h.
#pragma once

#include "norma/ops/conv/conv2d.h"

namespace norma::cpu {

// Contiguous arrays, T float or double; bias may be null. Any geometry.
template <class T>
struct Im2col {
  static void forward(const ConvGeometry& g, const T* x, const T* weight, const T* bias, T* y);
  static void data(const ConvGeometry& g, const T* dy, const T* weight, T* dx, bool add);
  static void weights(const ConvGeometry& g, const T* x, const T* dy, T* dw, bool add);
};

}  // namespace norma::cpu
