// Products of matrices in CPU memory: the one door to OpenBLAS, for the kernels of matmul and convolution. Not an op:
// no tensors, no gradients. It stands below the folders, since linear uses convolution.
#pragma once

#include <cstdint>

namespace norma::cpu {

// A matrix that lies in somebody's memory, row by row; or column by column, if it is a `transpose` of such a one.
template <class T>
struct Matrix {
  T* data;
  int64_t rows, columns;
  int64_t leading = columns;  // BLAS's leading dimension: elements from one row in memory to the next
  bool transposed = false;

  Matrix transpose(bool on = true) const { return on ? Matrix{data, columns, rows, leading, !transposed} : *this; }
  // The part that begins at row i and column j.
  Matrix block(int64_t i, int64_t block_rows, int64_t j, int64_t block_columns) const {
    return {data + (transposed ? j * leading + i : i * leading + j), block_rows, block_columns, leading, transposed};
  }
};

// C = A B, or C += A B where `add` says so; T is float or double, C not transposed. Extents may be 0. Without `add`, C
// is not read. On the calling thread: for use inside parallel regions. An error if an extent exceeds what OpenBLAS
// counts.
template <class T>
void gemm(const Matrix<const T>& a, const Matrix<const T>& b, const Matrix<T>& c, bool add);

// The same on several threads. The cut (into blocks of C, and into ranges of A's columns, each with a C of its own,
// where C is small) depends on the extents alone, and so do the bits of the result.
template <class T>
void parallel_gemm(const Matrix<const T>& a, const Matrix<const T>& b, const Matrix<T>& c, bool add);

}  // namespace norma::cpu
