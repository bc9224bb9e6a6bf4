#include "norma/ops/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <limits>

#include "norma/core/parallel.h"
#include "norma/core/tensor.h"

namespace norma::cpu {
namespace {

constexpr int64_t kMaxBlocks = 16;
constexpr int64_t kBlockWork = 1 << 18;  // multiply-adds that are worth waking a thread
constexpr int64_t kBlockSide = 48;       // smaller blocks of C cost more in packing A and B than they gain
constexpr int64_t kBlockDepth = 512;     // likewise for ranges of k
constexpr int64_t kTile = 16;            // blocks begin at multiples of OpenBLAS's register tile

blasint narrow(int64_t value) {
  check(value <= std::numeric_limits<blasint>::max(), "gemm", "extent {} is too large for OpenBLAS", value);
  return static_cast<blasint>(value);
}

// C = beta C.
template <class T>
void scale(int64_t m, int64_t n, T beta, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == 0 ? T(0) : beta * c[i * ldc + j];
}

// How many ranges each extent is cut into.
struct Cut {
  int64_t m = 1, n = 1, k = 1;
  int64_t blocks() const { return m * n * k; }
};

// As many blocks as are worth it; among cuts of as many, the one that moves the least memory. Each block packs its part
// of A and B; ranges of k write a C each, which are then added.
Cut choose_cut(int64_t m, int64_t n, int64_t k) {
  const auto cost = [&](const Cut& cut) { return k * (m * cut.n + n * cut.m) + (cut.k > 1 ? 3 * m * n * cut.k : 0); };
  const int64_t most = std::min(kMaxBlocks, m * n * k / kBlockWork);
  Cut best;
  for (Cut cut; cut.m == 1 || (cut.m <= most && cut.m * kBlockSide <= m); cut.m *= 2) {
    for (cut.n = 1; cut.n == 1 || (cut.m * cut.n <= most && cut.n * kBlockSide <= n); cut.n *= 2) {
      for (cut.k = 1; cut.k == 1 || (cut.blocks() <= most && cut.k * kBlockDepth <= k); cut.k *= 2) {
        if (cut.blocks() > best.blocks() || (cut.blocks() == best.blocks() && cost(cut) < cost(best))) best = cut;
      }
    }
  }
  return best;
}

struct Range {
  int64_t begin, size;
};
Range range_of(int64_t n, int64_t parts, int64_t part) {
  const int64_t size = ((n + parts - 1) / parts + kTile - 1) / kTile * kTile, begin = std::min(n, part * size);
  return {begin, std::min(n - begin, size)};
}

}  // namespace

template <class T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, std::type_identity_t<T> alpha, const T* a,
          int64_t lda, const T* b, int64_t ldb, std::type_identity_t<T> beta, T* c, int64_t ldc) {
  // Threads are norma's business: OpenBLAS must not start its own inside ours.
  [[maybe_unused]] static const bool once = (openblas_set_num_threads(1), true);
  if (m == 0 || n == 0) return;
  if (k == 0) return scale<T>(m, n, beta, c, ldc);
  const auto call = [&](auto product) {
    product(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, narrow(m),
            narrow(n), narrow(k), alpha, a, narrow(lda), b, narrow(ldb), beta, c, narrow(ldc));
  };
  if constexpr (std::is_same_v<T, float>) call(cblas_sgemm);
  else call(cblas_dgemm);
}

template <class T>
void parallel_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, std::type_identity_t<T> alpha,
                   const T* a, int64_t lda, const T* b, int64_t ldb, std::type_identity_t<T> beta, T* c, int64_t ldc) {
  const Cut cut = choose_cut(m, n, k);
  if (cut.blocks() == 1) return gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  const Tensor buffer = cut.k > 1 ? Tensor({cut.k, m, n}, dtype_of<T>()) : Tensor();
  T* partial = cut.k > 1 ? buffer.mutable_data<T>() : nullptr;
  parallel_slots(static_cast<int>(cut.blocks()), [&](int64_t slot) {
    const auto [i, rows] = range_of(m, cut.m, slot / cut.n % cut.m);
    const auto [j, columns] = range_of(n, cut.n, slot % cut.n);
    const auto [l, depth] = range_of(k, cut.k, slot / cut.n / cut.m);
    const T* from_a = a + (trans_a ? l * lda + i : i * lda + l);
    const T* from_b = b + (trans_b ? j * ldb + l : l * ldb + j);
    if (partial)
      gemm(trans_a, trans_b, rows, columns, depth, alpha, from_a, lda, from_b, ldb, 0,
           partial + (slot / cut.n / cut.m * m + i) * n + j, n);
    else gemm(trans_a, trans_b, rows, columns, depth, alpha, from_a, lda, from_b, ldb, beta, c + i * ldc + j, ldc);
  });
  if (!partial) return;
  parallel_for(m, 1 + 4096 / n, [&](int64_t begin, int64_t end) {
    scale<T>(end - begin, n, beta, c + begin * ldc, ldc);
    for (int64_t i = begin; i < end; ++i)
      for (int64_t part = 0; part < cut.k; ++part)
        for (int64_t j = 0; j < n; ++j) c[i * ldc + j] += partial[(part * m + i) * n + j];
  });
}

#define NORMA_GEMM(T)                                                                                                 \
  template void gemm(bool, bool, int64_t, int64_t, int64_t, T, const T*, int64_t, const T*, int64_t, T, T*, int64_t); \
  template void parallel_gemm(bool, bool, int64_t, int64_t, int64_t, T, const T*, int64_t, const T*, int64_t, T, T*,  \
                              int64_t);
NORMA_GEMM(float)
NORMA_GEMM(double)

}  // namespace norma::cpu
