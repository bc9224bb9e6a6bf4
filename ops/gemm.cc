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
constexpr int64_t kRowWork = 1 << 16;    // of a single row, which waits for memory
constexpr int64_t kBlockSide = 48;       // smaller blocks of C cost more in packing A and B than they gain
constexpr int64_t kBlockDepth = 512;     // likewise for ranges of k
constexpr int64_t kTile = 16;            // blocks begin at multiples of OpenBLAS's register tile

blasint narrow(int64_t value) {
  check(value <= std::numeric_limits<blasint>::max(), "gemm", "extent {} is too large for OpenBLAS", value);
  return static_cast<blasint>(value);
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
  const int64_t most = std::min(kMaxBlocks, m * n * k / (m == 1 ? kRowWork : kBlockWork));
  const int64_t deepest = m == 1 && n >= 2 * kBlockSide ? 1 : k / kBlockDepth;  // of one row, n is cut where it can be
  Cut best;
  for (Cut cut; cut.m == 1 || (cut.m <= most && cut.m * kBlockSide <= m); cut.m *= 2)
    for (cut.n = 1; cut.n == 1 || (cut.m * cut.n <= most && cut.n * kBlockSide <= n); cut.n *= 2)
      for (cut.k = 1; cut.k == 1 || (cut.blocks() <= most && cut.k <= deepest); cut.k *= 2)
        if (cut.blocks() > best.blocks() || (cut.blocks() == best.blocks() && cost(cut) < cost(best))) best = cut;
  return best;
}

// The part-th of the ranges that n is cut into: where it begins, and its size.
std::pair<int64_t, int64_t> range_of(int64_t n, int64_t parts, int64_t part) {
  const int64_t size = ((n + parts - 1) / parts + kTile - 1) / kTile * kTile, begin = std::min(n, part * size);
  return {begin, std::min(n - begin, size)};
}

}  // namespace

template <class T>
void gemm(const Matrix<const T>& a, const Matrix<const T>& b, const Matrix<T>& c, bool add) {
  // Threads are norma's business: OpenBLAS must not start its own inside ours.
  [[maybe_unused]] static const bool once = (openblas_set_num_threads(1), true);
  // Also of a matrix without columns, where BLAS wants 1.
  const auto leading = [](const auto& matrix) { return narrow(std::max<int64_t>(matrix.leading, 1)); };
  const auto call = [&](auto product) {
    product(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans,
            narrow(c.rows), narrow(c.columns), narrow(a.columns), T(1), a.data, leading(a), b.data, leading(b), T(add),
            c.data, leading(c));
  };
  // One row needs each element of B once: to pack B takes four times as long as to multiply by it.
  const auto call_for_row = [&, stored = b.transpose(b.transposed)](auto product) {
    if (!add) std::fill_n(c.data, c.columns, T(0));
    product(CblasRowMajor, b.transposed ? CblasNoTrans : CblasTrans, narrow(stored.rows), narrow(stored.columns), T(1),
            b.data, leading(b), a.data, a.transposed ? leading(a) : 1, T(1), c.data, 1);
  };
  if constexpr (std::is_same_v<T, float>) c.rows == 1 ? call_for_row(cblas_sgemv) : call(cblas_sgemm);
  else c.rows == 1 ? call_for_row(cblas_dgemv) : call(cblas_dgemm);
}

template <class T>
void parallel_gemm(const Matrix<const T>& a, const Matrix<const T>& b, const Matrix<T>& c, bool add) {
  const int64_t m = c.rows, n = c.columns, k = a.columns;
  const Cut cut = choose_cut(m, n, k);
  if (cut.blocks() == 1) return gemm(a, b, c, add);
  const Tensor buffer = cut.k > 1 ? Tensor({cut.k, m, n}, dtype_of<T>()) : Tensor();
  T* partial = buffer.mutable_data_or_null<T>();
  parallel_slots(static_cast<int>(cut.blocks()), [&](int64_t slot) {
    const int64_t part = slot / cut.n / cut.m;
    const auto [i, rows] = range_of(m, cut.m, slot / cut.n % cut.m);
    const auto [j, columns] = range_of(n, cut.n, slot % cut.n);
    const auto [l, depth] = range_of(k, cut.k, part);
    const Matrix<T> to = partial ? Matrix<T>{partial + part * m * n, m, n} : c;
    gemm(a.block(i, rows, l, depth), b.block(l, depth, j, columns), to.block(i, rows, j, columns), !partial && add);
  });
  if (!partial) return;
  parallel_each(m, 1 + 4096 / n, [&](int64_t i) {
    T* row = c.data + i * c.leading;
    if (!add) std::fill_n(row, n, T(0));
    for (int64_t part = 0; part < cut.k; ++part)
      for (int64_t j = 0; j < n; ++j) row[j] += partial[(part * m + i) * n + j];
  });
}

template void gemm(const Matrix<const float>&, const Matrix<const float>&, const Matrix<float>&, bool);
template void gemm(const Matrix<const double>&, const Matrix<const double>&, const Matrix<double>&, bool);
template void parallel_gemm(const Matrix<const float>&, const Matrix<const float>&, const Matrix<float>&, bool);
template void parallel_gemm(const Matrix<const double>&, const Matrix<const double>&, const Matrix<double>&, bool);

}  // namespace norma::cpu
