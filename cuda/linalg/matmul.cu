// Matrix products on a CUDA device: the one door to cuBLAS. linear's kernels come here, too; convolutions have cuDNN.
#include <cublas_v2.h>

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>

#include "norma/core/strided.h"
#include "norma/cuda/runtime.h"
#include "norma/ops/linalg/matmul.h"

namespace norma::cuda {
namespace {

void check_blas(cublasStatus_t status) {
  check(status == CUBLAS_STATUS_SUCCESS, "matmul", "cuBLAS reports {}", cublasGetStatusString(status));
}

// cuBLAS for the thread's device, on its one stream, so that results are deterministic.
class Handle {
 public:
  Handle() : lock_(own().mutex) {
    if (!own().handle) {
      check_blas(cublasCreate(&own().handle));
      check_blas(cublasSetStream(own().handle, context().stream));
    }
    const bool exact = matmul_precision == MatmulPrecision::highest;
    check_blas(cublasSetMathMode(own().handle, exact ? CUBLAS_DEFAULT_MATH : CUBLAS_TF32_TENSOR_OP_MATH));
  }
  operator cublasHandle_t() const { return own().handle; }

 private:
  struct Own {
    cublasHandle_t handle = nullptr;
    std::mutex mutex;  // a handle serves one thread at a time
  };
  static Own& own() {
    static std::array<Own, 64>* const devices = new std::array<Own, 64>;  // never destroyed
    return (*devices)[context().device];
  }
  std::lock_guard<std::mutex> lock_;
};

int narrow(int64_t extent) {
  check(extent <= std::numeric_limits<int>::max(), "matmul", "extent {} is too large for cuBLAS", extent);
  return static_cast<int>(extent);
}

}  // namespace

void matmul(bool trans_a, bool trans_b, const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
  if (y.numel() == 0) return;
  const int m = narrow(y.dim(-2)), n = narrow(y.dim(-1)), k = narrow(a.dim(trans_a ? -2 : -1));
  const int lda = std::max(narrow(a.dim(-1)), 1), ldb = std::max(narrow(b.dim(-1)), 1);  // 0 where k is
  const auto leading = [&](const Shape& x) { return Shape(std::span(x.begin(), static_cast<size_t>(y.rank() - 2))); };
  // Leading axes along which all three advance by a step are one call of cuBLAS; others are walked through.
  const StridedLoop<3> loop(leading(y.shape()), {leading(a.strides()), leading(b.strides()), leading(y.strides())});
  const int count = narrow(loop.shape().back());
  const Handle handle;
  const auto run = [&]<class T>(T one, auto product) {
    const T beta = add;
    for (int64_t i = 0; i < loop.shape().numel(); i += count) {
      const auto at = loop.offsets(i);
      // cuBLAS counts columns first: of row-major matrices it sees the transposes, and makes C^T = op(B)^T op(A)^T.
      check_blas(product(handle, trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k,
                         &one, b.cuda_data<T>() + at[1], ldb, loop.inner[1], a.cuda_data<T>() + at[0], lda,
                         loop.inner[0], &beta, y.mutable_cuda_data<T>() + at[2], n, loop.inner[2], count));
    }
  };
  if (y.dtype() == f32) run(1.0f, cublasSgemmStridedBatched);
  else run(1.0, cublasDgemmStridedBatched);
}

}  // namespace norma::cuda
