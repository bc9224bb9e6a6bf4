// Matrix products on a CUDA device: the one door to cuBLAS, for the kernels of matmul, linear and convolution.
#pragma once

#include <cstdint>

namespace norma::cuda {

// The i-th matrix of an operand begins at data + i * stride; a leading dimension is the distance between rows.
template <class T>
struct Matrices {
  T* data;
  int64_t leading, stride;
};

// C = op(A) op(B) + beta C for each of `count` products, row-major, T float or double. op(A) is [m, k] and op(B)
// [k, n], where op(X) is X, or its transpose where `trans` says so. m, n, k and count may be 0. Deterministic: all of a
// device's products are made on its one stream.
template <class T>
void gemm(const char* op, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, Matrices<const T> a,
          Matrices<const T> b, bool beta, Matrices<T> c, int64_t count = 1);

}  // namespace norma::cuda
