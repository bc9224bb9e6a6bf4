// Tensors put together along an axis, and a tensor put into a larger one.
#pragma once

#include <utility>
#include <vector>

#include "norma/core/tensor.h"

namespace norma {

// The tensors one after the other along `axis` (negative counts from the end): of one dtype (any) and one device,
// shapes equal but for that axis. Errors: no tensor, an axis out of range, anything that differs.
Tensor concat(const std::vector<Tensor>& tensors, int64_t axis);

// The tensors, all of one shape, as the entries of a new axis: `axis` of the result.
Tensor stack(const std::vector<Tensor>& tensors, int64_t axis = 0);

// x [n0, n1, ...], of any dtype, in the middle of a tensor [before0 + n0 + after0, ...] whose other elements are
// `value`: `pads` has {before, after} for each axis. Errors: another number of pairs than axes, a negative pad, a
// result that is too large.
Tensor pad(const Tensor& x, const std::vector<std::pair<int64_t, int64_t>>& pads, double value = 0);

}  // namespace norma
