// Matrix products of plain arrays on the CPU: the one door to OpenBLAS, for the kernels of matmul, linear and
// convolution. Not an op: no tensors, no gradients.
#pragma once

#include <cstdint>
#include <type_traits>

namespace norma::cpu {

// C = alpha op(A) op(B) + beta C, row-major, T float or double. op(A) is [m, k] and op(B) [k, n], where op(X) is X, or
// its transpose where `trans` says so; C is [m, n]. A leading dimension is the distance between rows as they are
// stored. m, n and k may be 0. With beta = 0, C is only written. Runs on the calling thread: for use inside parallel
// regions.
template <class T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, std::type_identity_t<T> alpha, const T* a,
          int64_t lda, const T* b, int64_t ldb, std::type_identity_t<T> beta, T* c, int64_t ldc);

// The same on several threads. The cut (into blocks of C, and into ranges of k, each with a C of its own, where C is
// small) depends on m, n and k alone, and so do the bits of the result.
template <class T>
void parallel_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, std::type_identity_t<T> alpha,
                   const T* a, int64_t lda, const T* b, int64_t ldb, std::type_identity_t<T> beta, T* c, int64_t ldc);

}  // namespace norma::cpu
