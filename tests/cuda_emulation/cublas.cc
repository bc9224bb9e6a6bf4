#include <cublas_v2.h>

#include "engine.h"
#include "norma/ops/gemm.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
};

namespace {

// Columns first, as cuBLAS has it; so the row-major product that norma knows is that of the transposes, B^T [n, k]
// times A^T [k, m]. alpha is 1, and beta 0 or 1: what norma asks for.
template <class T>
norma::cpu::Matrix<const T> operand(const T* data, int64_t rows, int64_t columns, int64_t leading,
                                    cublasOperation_t transposed) {
  if (transposed == CUBLAS_OP_N) return {data, rows, columns, leading};
  return norma::cpu::Matrix<const T>{data, columns, rows, leading}.transpose();
}
template <class T>
cublasStatus_t products(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, T alpha,
                        const T* a, int lda, long long stride_a, const T* b, int ldb, long long stride_b, T beta, T* c,
                        int ldc, long long stride_c, int count) {
  const auto fits = [](bool trans, int rows, int columns, int leading) {
    return leading >= std::max(1, trans ? columns : rows);
  };
  if (alpha != 1 || (beta != 0 && beta != 1) || m < 0 || n < 0 || k < 0 || count < 0 ||
      !fits(ta == CUBLAS_OP_T, m, k, lda) || !fits(tb == CUBLAS_OP_T, k, n, ldb) || !fits(false, m, n, ldc))
    return CUBLAS_STATUS_INVALID_VALUE;
  cuda_emulation::enqueue(handle->stream, [=] {
    for (int i = 0; i < count; ++i)
      norma::cpu::gemm<T>(operand(b + i * stride_b, n, k, ldb, tb), operand(a + i * stride_a, k, m, lda, ta),
                          {c + i * stride_c, n, m, ldc}, beta == 1);
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

const char* cublasGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "CUBLAS_STATUS_INVALID_VALUE";
}
cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                                         int n, int k, const float* alpha, const float* a, int lda, long long stride_a,
                                         const float* b, int ldb, long long stride_b, const float* beta, float* c,
                                         int ldc, long long stride_c, int count) {
  return products(handle, ta, tb, m, n, k, *alpha, a, lda, stride_a, b, ldb, stride_b, *beta, c, ldc, stride_c, count);
}
cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                                         int n, int k, const double* alpha, const double* a, int lda,
                                         long long stride_a, const double* b, int ldb, long long stride_b,
                                         const double* beta, double* c, int ldc, long long stride_c, int count) {
  return products(handle, ta, tb, m, n, k, *alpha, a, lda, stride_a, b, ldb, stride_b, *beta, c, ldc, stride_c, count);
}
