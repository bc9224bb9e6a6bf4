// Tensors put together along an axis, parts of one that change places, and a tensor put into a larger one.
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
// x, of any dtype, its entries moved along the axis by `shift` places, any number of either sign, and those that leave
// it at one end put in at the other: y[.., (i + shift) mod n, ..] = x[.., i, ..].
Tensor roll(const Tensor& x, int64_t shift, int64_t axis);

// x [n0, n1, ...], of any dtype, in the middle of a tensor [before0 + n0 + after0, ...] whose other elements are
// `value`: `pads` has {before, after} for each axis. Errors: another number of pairs than axes, a negative pad, a
// result that is too large.
Tensor pad(const Tensor& x, const std::vector<std::pair<int64_t, int64_t>>& pads, double value = 0);

// What continues x beyond its ends, as [a b c d] by three: zeros, 0 0 0; reflect, b c d before it and c b a behind, the
// ends not repeated; replicate, a a a and d d d; circular, b c d and a b c.
enum class PadMode : uint8_t { zeros, reflect, replicate, circular };
// The same with copies of x around it, axis by axis; the gradient of an element is the sum of those of its copies.
// Further errors: more than extent - 1 reflected elements, more than extent circular ones, replicating no element.
Tensor pad(const Tensor& x, const std::vector<std::pair<int64_t, int64_t>>& pads, PadMode mode);

}  // namespace norma
