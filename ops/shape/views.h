// Views: the same data under another shape or order of axes. Nothing is copied (but see reshape), any dtype; the
// gradient is the view back. What shares storage also shares what is later written into it.
#pragma once

#include "norma/core/tensor.h"

namespace norma {

// One extent may be -1. Copies where x is not contiguous.
Tensor reshape(const Tensor& x, const Shape& shape);
Tensor flatten(const Tensor& x);                          // [N, ...] -> [N, -1]
Tensor permute(const Tensor& x, const Shape& axes);       // axis i of the result is axis axes[i] of x
Tensor transpose(const Tensor& x, int64_t i, int64_t j);  // swaps two axes
// Entries start, start + step, ... below stop; 0 <= start <= stop <= extent, step >= 1.
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step = 1);
Tensor expand(const Tensor& x, const Shape& shape);  // broadcasts; the gradient is summed over what was repeated
Tensor squeeze(const Tensor& x, int64_t axis);       // removes an axis of extent 1
Tensor unsqueeze(const Tensor& x, int64_t axis);     // inserts one; axis -1 puts it last

}  // namespace norma
