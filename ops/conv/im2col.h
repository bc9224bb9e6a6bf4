// Convolution on the CPU as matrix products: the windows of the input are copied to the rows of a matrix. Does any
// geometry, and whatever no vectorised kernel does (ops/conv/choose.h).
#pragma once

#include "norma/ops/conv/kernels.h"

namespace norma::cpu {

// The three passes as in ConvKernel, with T float or double; but no epilogue.
template <class T>
struct Im2col {
  static void forward(const ConvGeometry& g, const T* x, const T* weight, const T* bias, T* y, std::nullptr_t after);
  static void backward_input(const ConvGeometry& g, const T* dy, const T* weight, T* dx, bool add);
  static void backward_weight(const ConvGeometry& g, const T* x, const T* dy, T* dw, bool add);
};

}  // namespace norma::cpu
