// matmul: products of matrices, one by one along leading axes.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

// a [..., m, k] times b [..., k, n] is [..., m, n]; the leading axes broadcast. Both f32 or both f64, on one device,
// with any strides; extents may be 0. Errors: fewer than two axes, an a with other columns than b has rows, leading
// axes that do not broadcast.
Tensor matmul(const Tensor& a, const Tensor& b);

// What products of f32 on CUDA, convolutions included, are computed in: `highest`, the default, f32 throughout; `high`,
// TF32, which rounds the factors to 11 bits. The CPU always computes in f32.
enum class MatmulPrecision : uint8_t { highest, high };
void set_matmul_precision(std::string_view name);  // "highest" or "high"
inline std::atomic<MatmulPrecision> matmul_precision = MatmulPrecision::highest;

// y (+)= op(a) op(b), op(x) being x, or the transpose of each matrix in x where `trans` says so.  y is contiguous. a
// and b have y's leading axes, with any strides there (0 where broadcast), and contiguous matrices.
NORMA_KERNEL(matmul, bool trans_a, bool trans_b, const Tensor& a, const Tensor& b, const Tensor& y, bool add)

}  // namespace norma
