// Upsampling of images by whole factors.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// Repeats every pixel of x [N, H, W, C] scale.h times down and scale.w times across: [N, H scale.h, W scale.w, C].
// f32 or f64, any strides. Errors: another rank, a scale below 1 or above kMaxStep (2^31 - 1).
Tensor upsample_nearest(const Tensor& x, Pair scale);

NORMA_KERNEL(upsample_nearest, Pair scale, const Tensor& x, const Tensor& y)

}  // namespace norma
