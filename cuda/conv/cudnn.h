// The seam to cuDNN: convolution of f32 images. The tests' emulation answers it with the CPU's kernels.
#pragma once

#include "norma/ops/conv/conv2d.h"

namespace norma::cuda {

enum class ConvPass : uint8_t { forward, data, weights };

// Writes y from x and w; x from y and w; or w from x and y. Device memory, contiguous: x [n, h, w, c], w [oc, kh, kw,
// c / groups], y [n, oh, ow, oc], none empty. Deterministic.
void conv2d_cudnn(ConvPass pass, const ConvGeometry& geometry, const float* x, const float* w, const float* y);

}  // namespace norma::cuda
