#include "norma/ops/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <limits>

#include "norma/core/parallel.h"
#include "norma/core/tensor.h"

namespace norma::cpu {
namespace {

constexpr int kMaxBlocks = 16;
constexpr int64_t kBlockWork = 1 << 18;  // multiply-adds that are worth waking a thread
constexpr int64_t kBlockRows = 48;       // thinner blocks of C cost more in packing A and B than they gain
constexpr int64_t kBlockDepth = 512;     // likewise for ranges of k
constexpr int64_t kRegister = 16;        // blocks begin at multiples of OpenBLAS's register tile

blasint narrow(int64_t value) {
  check(value <= std::numeric_limits<blasint>::max(), "gemm", "extent {} is too large for OpenBLAS", value);
  return static_cast<blasint>(value);
}

void call(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, blasint m, blasint n, blasint k, float alpha, const float* a,
          blasint lda, const float* b, blasint ldb, float beta, float* c, blasint ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void call(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, blasint m, blasint n, blasint k, double alpha, const double* a,
          blasint lda, const double* b, blasint ldb, double beta, double* c, blasint ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

// C = beta C.
template <class T>
void scale(int64_t m, int64_t n, T beta, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == 0 ? T(0) : beta * c[i * ldc + j];
}

// Calls f(slot, begin, end) for at most `blocks` ranges of [0, n) that begin at multiples of kRegister.
template <class F>
void parallel_blocks(int64_t n, int64_t blocks, F&& f) {
  const int64_t size = ((n + blocks - 1) / blocks + kRegister - 1) / kRegister * kRegister;
  parallel_slots(static_cast<int>((n + size - 1) / size),
                 [&](int slot) { f(slot, slot * size, std::min(n, (slot + 1) * size)); });
}

}  // namespace

template <class T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, std::type_identity_t<T> alpha, const T* a,
          int64_t lda, const T* b, int64_t ldb, std::type_identity_t<T> beta, T* c, int64_t ldc) {
  // Threads are norma's business: OpenBLAS must not start its own inside ours.
  [[maybe_unused]] static const bool once = (openblas_set_num_threads(1), true);
  if (m == 0 || n == 0) return;
  if (k == 0) return scale<T>(m, n, beta, c, ldc);
  call(trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, narrow(m), narrow(n), narrow(k), alpha,
       a, narrow(lda), b, narrow(ldb), beta, c, narrow(ldc));
}

template <class T>
void parallel_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, std::type_identity_t<T> alpha,
                   const T* a, int64_t lda, const T* b, int64_t ldb, std::type_identity_t<T> beta, T* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  const int64_t by_work = std::clamp<int64_t>(m * n * k / kBlockWork, 1, kMaxBlocks);
  const auto a_at = [&](int64_t row, int64_t column) {
    return a + (trans_a ? column * lda + row : row * lda + column);
  };
  const auto b_at = [&](int64_t row, int64_t column) {
    return b + (trans_b ? column * ldb + row : row * ldb + column);
  };

  const int64_t by_depth = std::min(by_work, k / kBlockDepth);
  if (by_depth > 1 && k >= 4 * std::max(m, n)) {  // each range of k into a C of its own; these are added in order
    const Tensor buffer({by_depth, m, n}, dtype_of<T>());
    T* partial = buffer.mutable_data<T>();
    parallel_slots(static_cast<int>(by_depth), [&](int slot) {
      const int64_t begin = k * slot / by_depth, end = k * (slot + 1) / by_depth;
      gemm(trans_a, trans_b, m, n, end - begin, alpha, a_at(0, begin), lda, b_at(begin, 0), ldb, 0,
           partial + slot * m * n, n);
    });
    parallel_for(m, 1 + 4096 / n, [&](int64_t begin, int64_t end) {
      scale<T>(end - begin, n, beta, c + begin * ldc, ldc);
      for (int64_t i = begin; i < end; ++i)
        for (int64_t slot = 0; slot < by_depth; ++slot)
          for (int64_t j = 0; j < n; ++j) c[i * ldc + j] += partial[(slot * m + i) * n + j];
    });
  } else if (m >= n) {
    parallel_blocks(m, std::clamp<int64_t>(m / kBlockRows, 1, by_work), [&](int, int64_t begin, int64_t end) {
      gemm(trans_a, trans_b, end - begin, n, k, alpha, a_at(begin, 0), lda, b, ldb, beta, c + begin * ldc, ldc);
    });
  } else {
    parallel_blocks(n, std::clamp<int64_t>(n / kBlockRows, 1, by_work), [&](int, int64_t begin, int64_t end) {
      gemm(trans_a, trans_b, m, end - begin, k, alpha, a, lda, b_at(0, begin), ldb, beta, c + begin, ldc);
    });
  }
}

#define NORMA_GEMM(T)                                                                                                 \
  template void gemm(bool, bool, int64_t, int64_t, int64_t, T, const T*, int64_t, const T*, int64_t, T, T*, int64_t); \
  template void parallel_gemm(bool, bool, int64_t, int64_t, int64_t, T, const T*, int64_t, const T*, int64_t, T, T*,  \
                              int64_t);
NORMA_GEMM(float)
NORMA_GEMM(double)

}  // namespace norma::cpu
