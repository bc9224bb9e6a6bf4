#include <cublas_v2.h>

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>

#include "norma/cuda/linalg/gemm.h"
#include "norma/cuda/runtime.h"
#include "norma/ops/linalg/matmul.h"

namespace norma::cuda {
namespace {

void check_blas(const char* op, cublasStatus_t status) {
  check(status == CUBLAS_STATUS_SUCCESS, op, "cuBLAS reports {}", cublasGetStatusString(status));
}

// cuBLAS counts columns first: of row-major matrices it sees the transposes, and makes C^T = op(B)^T op(A)^T.
cublasStatus_t call(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                    Matrices<const float> a, Matrices<const float> b, bool add, Matrices<float> c, int count) {
  const float one = 1, beta = add;
  return cublasSgemmStridedBatched(handle, tb, ta, n, m, k, &one, b.data, static_cast<int>(b.leading), b.stride, a.data,
                                   static_cast<int>(a.leading), a.stride, &beta, c.data, static_cast<int>(c.leading),
                                   c.stride, count);
}
cublasStatus_t call(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                    Matrices<const double> a, Matrices<const double> b, bool add, Matrices<double> c, int count) {
  const double one = 1, beta = add;
  return cublasDgemmStridedBatched(handle, tb, ta, n, m, k, &one, b.data, static_cast<int>(b.leading), b.stride, a.data,
                                   static_cast<int>(a.leading), a.stride, &beta, c.data, static_cast<int>(c.leading),
                                   c.stride, count);
}

}  // namespace

template <class T>
void gemm(const char* op, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, Matrices<const T> a,
          Matrices<const T> b, bool beta, Matrices<T> c, int64_t count) {
  if (m == 0 || n == 0 || count == 0) return;
  const int64_t largest = std::max({m, n, k, a.leading, b.leading, c.leading, count});
  check(largest <= std::numeric_limits<int>::max(), op, "extent {} is too large for cuBLAS", largest);
  a.leading = std::max<int64_t>(a.leading, 1);  // 0 where k is
  b.leading = std::max<int64_t>(b.leading, 1);
  struct Handle {
    cublasHandle_t handle = nullptr;
    std::mutex mutex;  // a handle serves one thread at a time
  };
  static std::array<Handle, 64>* const handles = new std::array<Handle, 64>;  // by device; never destroyed
  Handle& own = (*handles)[static_cast<size_t>(context().device)];
  const std::lock_guard lock(own.mutex);
  if (!own.handle) {
    check_blas(op, cublasCreate(&own.handle));
    check_blas(op, cublasSetStream(own.handle, context().stream));
  }
  const bool exact = matmul_precision == MatmulPrecision::highest;
  check_blas(op, cublasSetMathMode(own.handle, exact ? CUBLAS_DEFAULT_MATH : CUBLAS_TF32_TENSOR_OP_MATH));
  const auto trans = [](bool on) { return on ? CUBLAS_OP_T : CUBLAS_OP_N; };
  check_blas(op, call(own.handle, trans(trans_a), trans(trans_b), static_cast<int>(m), static_cast<int>(n),
                      static_cast<int>(k), a, b, beta, c, static_cast<int>(count)));
}

template void gemm(const char*, bool, bool, int64_t, int64_t, int64_t, Matrices<const float>, Matrices<const float>,
                   bool, Matrices<float>, int64_t);
template void gemm(const char*, bool, bool, int64_t, int64_t, int64_t, Matrices<const double>, Matrices<const double>,
                   bool, Matrices<double>, int64_t);

}  // namespace norma::cuda
