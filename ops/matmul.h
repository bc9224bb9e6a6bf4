// matmul: products of matrices, one by one along leading axes.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// a [..., m, k] times b [..., k, n] is [..., m, n]; the leading axes broadcast. Both have at least two axes.
Tensor matmul(const Tensor& a, const Tensor& b);

// y (+)= a b.  y [..., m, n], contiguous; a [..., m, k] and b [..., k, n] with the same leading axes, any strides there
// (0 where broadcast), and a stride of 1 along one of the last two, at least the other's extent along the other.
NORMA_KERNEL(matmul, const Tensor& a, const Tensor& b, const Tensor& y, bool add)

}  // namespace norma
