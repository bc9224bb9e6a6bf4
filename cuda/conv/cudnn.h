// The seam to cuDNN: convolution of f32 images. The tests' emulation answers it with the CPU's kernels.
#pragma once

#include "norma/ops/conv/geometry.h"

namespace norma::cuda {

enum class ConvPass : uint8_t { forward, backward_input, backward_weight };

// One pass. forward reads x and w and writes y; backward_input reads w and y's gradient `y` and writes x's gradient to
// `x`; backward_weight likewise to `w`. Device memory, contiguous, of the shapes that ConvGeometry says, none empty.
// Deterministic.
void conv2d_cudnn(ConvPass pass, const ConvGeometry& geometry, const float* x, const float* w, const float* y);

}  // namespace norma::cuda
