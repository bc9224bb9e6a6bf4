// Convolution as matrix products on the CPU: the windows of the input become the rows of a matrix. Behind the seam of
// ops/conv2d.h.
#pragma once

#include "norma/ops/conv2d.h"

namespace norma::cpu {

// Contiguous arrays, T float or double; bias may be null. Any geometry.
struct Im2col {
  template <class T>
  static void forward(const ConvGeometry& g, const T* x, const T* weight, const T* bias, T* y);
  template <class T>
  static void data(const ConvGeometry& g, const T* dy, const T* weight, T* dx, bool add);
  template <class T>
  static void weights(const ConvGeometry& g, const T* x, const T* dy, T* dw, bool add);
};

}  // namespace norma::cpu
