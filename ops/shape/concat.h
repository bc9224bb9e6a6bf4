// Tensors put together along an axis, and a tensor put into a larger one.
#pragma once

#include <utility>
#include <vector>

#include "norma/core/tensor.h"

namespace norma {

// Of one dtype (any) and one device, shapes equal but for `axis`; at least one tensor.
Tensor concat(const std::vector<Tensor>& tensors, int64_t axis);

// `pads` has {before, after} for each axis, none negative; new elements are `value`.
Tensor pad(const Tensor& x, const std::vector<std::pair<int64_t, int64_t>>& pads, double value = 0);

}  // namespace norma
