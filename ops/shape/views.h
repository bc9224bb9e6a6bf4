// Views: the same data under another shape or order of axes, of any dtype. Nothing is copied (but see reshape and
// slice); the gradient is the view back. What shares storage also shares what is later written into it. An axis may be
// negative and then counts from the end; one that is out of range is an error. core/tensor.h has these views
// unrecorded.
#pragma once

#include <vector>

#include "norma/core/tensor.h"

namespace norma {

// x's elements, in row-major order, in another shape; one extent may be -1, which stands for what is left. A copy where
// x is not contiguous. Errors: another number of elements, more than one -1, a -1 beside an extent of 0.
Tensor reshape(const Tensor& x, const Shape& shape);
Tensor flatten(const Tensor& x);  // [N, ...] -> [N, -1]; error: no axis
// Axis i of the result is axis axes[i] of x. Error: not every axis of x once.
Tensor permute(const Tensor& x, const Shape& axes);
Tensor transpose(const Tensor& x, int64_t i, int64_t j);  // swaps two axes
// The entries start, start + step, ... before stop of an axis; start and stop may be negative, too. A negative step
// runs backwards, and before entry 0 where stop is kEnd: a copy, since no stride is negative. Errors: start or stop out
// of range or the wrong way round, a step of 0.
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop = kEnd, int64_t step = 1);
inline Tensor flip(const Tensor& x, int64_t axis) { return slice(x, axis, -1, kEnd, -1); }  // the axis in reverse
// Entry i of an axis, without the axis; i may be negative. x[i] is select(x, 0, i). Error: there is none.
Tensor select(const Tensor& x, int64_t axis, int64_t i);
// Consecutive slices of an axis: of these sizes, which sum to its extent; or n, or fewer, of one size, but for the last
// (5 entries in 4 are 2, 2, 1, as PyTorch has it). Errors: other sums, a negative size, n < 1.
std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t axis);
std::vector<Tensor> chunk(const Tensor& x, int64_t n, int64_t axis);
// x repeats[i] times along axis i: [n0, n1] -> [n0 * repeats[0], n1 * repeats[1]]; a copy. PyTorch's tile and repeat.
// The gradient is summed over the repetitions. Errors: another number of repeats than axes, a negative one, eight axes.
Tensor tile(const Tensor& x, const Shape& repeats);
// x broadcast to `shape`; the gradient is summed over what was repeated. Error: it does not broadcast.
Tensor expand(const Tensor& x, const Shape& shape);
Tensor squeeze(const Tensor& x, int64_t axis);    // removes an axis of extent 1; error: another extent
Tensor unsqueeze(const Tensor& x, int64_t axis);  // inserts an axis of extent 1; axis -1 puts it last

}  // namespace norma
