// Elements chosen by an index tensor (i64), and its one-hot code. An index outside of the axis is an error that says
// which and where (on CUDA it is thrown where the host next waits for the device); a negative one counts from the end,
// but for one_hot. Other errors: an index that is not i64, of a shape that does not fit, or on another device than x.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// y[.., i, ..] = x[.., index[.., i, ..], ..] along `axis`; index has x's shape but for that axis. x of any dtype.
// What is picked twice gets both gradients, added in the order of the index.
Tensor gather(const Tensor& x, int64_t axis, const Tensor& index);
// Whole entries of an axis of x, of any dtype: index [m], y has extent m on `axis`. Gradients as those of gather.
Tensor index_select(const Tensor& x, int64_t axis, const Tensor& index);
// x with source[.., i, ..] added to its elements [.., index[.., i, ..], ..] along `axis`, in the order of i and in x's
// dtype, any but bool. index and source have x's shape but for that axis.
Tensor scatter_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& source);
// index [...] with values in [0, classes) -> [..., classes] of `dtype`, any: 1 at the index, else 0. Not recorded.
Tensor one_hot(const Tensor& index, int64_t classes, DType dtype = f32);

inline Tensor eye(int64_t n, DType dtype = f32) { return one_hot(arange(n), n, dtype); }  // [n, n]: 1 on the diagonal

// Throws in the name of `op` where an element of index (any shape, contiguous) is outside of [low, n).
NORMA_KERNEL(check_index, const char* op, const Tensor& index, int64_t low, int64_t n)
// The entry that an index stands for.
NORMA_HOST_DEVICE inline int64_t entry_of(int64_t index, int64_t n) { return index < 0 ? index + n : index; }
// y[o, i, k] = x[o, index[o, i, k], k].  x [outer, n, inner] and y [outer, m, inner] contiguous; index as y, any
// strides (0 on outer and inner for index_select).
NORMA_KERNEL(gather, const Tensor& x, const Tensor& index, const Tensor& y)
// dx[o, index[o, i, k], k] += dy[o, i, k], i ascending; laid out as above, of any dtype.
NORMA_KERNEL(gather_backward, const Tensor& dy, const Tensor& index, const Tensor& dx)

}  // namespace norma
