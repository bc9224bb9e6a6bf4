// Dropout (Srivastava et al. 2014): sets elements to zero at random. Always: whether a model is in training is known to
// the layer.
#pragma once

#include "norma/core/random.h"
#include "norma/ops/kernel.h"

namespace norma {

// Each element of x (any shape and strides, f32 or f64) becomes 0 with probability p, whatever it was, and else is
// multiplied by 1 / (1 - p). Element i, row-major, is kept where word i % 4 of block i / 4 of the generator's next
// numel / 4 blocks, rounded up, is at least p 2^32; so the mask is not stored, the backward pass makes it again. p = 0
// takes no blocks; the result then shares x's data, and is a value of its own on the tape. Error: p outside of [0, 1).
Tensor dropout(const Tensor& x, double p, Generator& generator = default_generator());

// y (+)= 0 or x / (1 - p), by the blocks that begin at `from`. Contiguous.
NORMA_KERNEL(dropout, double p, Generator::State from, const Tensor& x, const Tensor& y, bool add)

}  // namespace norma
