// Matrix products for builds without OpenBLAS: blocks of a and b are packed into strips as wide as a tile of registers,
// and each tile of c is summed in registers over a block of k (Goto and van de Geijn, "Anatomy of High-Performance
// Matrix Multiplication", 2008). One loop for every CPU, by the compiler's vectors: what it lacks to OpenBLAS is tuning
// by hand.
#include <cblas.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "norma/core/simd/vectors.h"

namespace {

constexpr int kRows = 6, kVectors = 2;       // a tile of c: 12 of 16 registers, which leaves 2 for b and 1 for a
constexpr int64_t kDepth = 256, kBand = 96;  // a block of a: kBand rows of kDepth, 96 KiB of floats, stays in a cache
constexpr int64_t kWidth = 1024;             // columns of a block of b

template <class T>
struct Lanes {
  static constexpr int count = norma::cpu::NORMA_SIMD::kLanes * sizeof(float) / sizeof(T);
  typedef T Vector __attribute__((vector_size(count * sizeof(T))));
};

// Elements of a matrix that may be transposed.
template <class T>
struct View {
  const T* data;
  int64_t row, column;  // from an element to the next one in its column, in its row
  T operator()(int64_t i, int64_t j) const { return data[i * row + j * column]; }
};

// Packs rows [begin, begin + rows) and columns [from, from + depth) as strips of `width` rows: in each, column after
// column. The rows that a last strip lacks are zeros.
template <int width, class T>
void pack(const View<T>& x, int64_t begin, int64_t rows, int64_t from, int64_t depth, T* to) {
  for (int64_t strip = 0; strip < rows; strip += width) {
    const int64_t n = std::min<int64_t>(width, rows - strip);
    for (int64_t k = 0; k < depth; ++k, to += width) {
      for (int64_t i = 0; i < n; ++i) to[i] = x(begin + strip + i, from + k);
      std::fill(to + n, to + width, T(0));
    }
  }
}

// sum [kRows, kVectors vectors] = a strip of a [depth, kRows] by one of b [depth, kVectors vectors].
template <class T>
void tile(int64_t depth, const T* a, const T* b, T* sum) {
  using Vector = typename Lanes<T>::Vector;
  Vector c[kRows][kVectors] = {};
  for (int64_t k = 0; k < depth; ++k, a += kRows, b += kVectors * Lanes<T>::count) {
    Vector row[kVectors];
    std::memcpy(row, b, sizeof row);
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) c[i][v] += a[i] * row[v];
    }
  }
  std::memcpy(sum, c, sizeof c);
}

template <class T>
void product(const View<T>& a, const View<T>& b, int64_t m, int64_t n, int64_t k, T alpha, T beta, T* c, int64_t ldc) {
  constexpr int64_t columns = kVectors * Lanes<T>::count;
  for (int64_t i = 0; i < m; ++i) {
    T* row = c + i * ldc;
    if (beta == T(0)) std::fill_n(row, n, T(0));
    else if (beta != T(1)) std::for_each(row, row + n, [&](T& value) { value *= beta; });
  }
  const View<T> b_transposed{b.data, b.column, b.row};
  thread_local std::vector<T> packed_a, packed_b;
  packed_a.resize(kDepth * kBand);
  packed_b.resize(kDepth * kWidth);
  for (int64_t k0 = 0; k0 < k; k0 += kDepth) {
    const int64_t depth = std::min(kDepth, k - k0);
    for (int64_t j0 = 0; j0 < n; j0 += kWidth) {
      const int64_t width = std::min(kWidth, n - j0);
      pack<columns>(b_transposed, j0, width, k0, depth, packed_b.data());
      for (int64_t i0 = 0; i0 < m; i0 += kBand) {
        const int64_t band = std::min(kBand, m - i0);
        pack<kRows>(a, i0, band, k0, depth, packed_a.data());
        for (int64_t j = 0; j < width; j += columns) {
          for (int64_t i = 0; i < band; i += kRows) {
            T sum[kRows * columns];
            tile(depth, packed_a.data() + i * depth, packed_b.data() + j * depth, sum);
            for (int64_t r = 0; r < std::min<int64_t>(kRows, band - i); ++r) {
              T* row = c + (i0 + i + r) * ldc + j0 + j;
              for (int64_t s = 0; s < std::min(columns, width - j); ++s) row[s] += alpha * sum[r * columns + s];
            }
          }
        }
      }
    }
  }
}

template <class T>
View<T> view(CBLAS_TRANSPOSE transposed, const T* data, int64_t leading) {
  return transposed == CblasTrans ? View<T>{data, 1, leading} : View<T>{data, leading, 1};
}

// y as a row: y^T = x^T op(a)^T.
template <class T>
void row_product(CBLAS_TRANSPOSE transposed, int64_t m, int64_t n, T alpha, const T* a, int64_t lda, const T* x,
                 int64_t incx, T beta, T* y) {
  const bool turned = transposed == CblasTrans;
  product(View<T>{x, 0, incx}, view(turned ? CblasNoTrans : CblasTrans, a, lda), 1, turned ? n : m, turned ? m : n,
          alpha, beta, y, 0);
}

}  // namespace

void cblas_sgemm(CBLAS_ORDER, CBLAS_TRANSPOSE transposed_a, CBLAS_TRANSPOSE transposed_b, blasint m, blasint n,
                 blasint k, float alpha, const float* a, blasint lda, const float* b, blasint ldb, float beta, float* c,
                 blasint ldc) {
  product(view(transposed_a, a, lda), view(transposed_b, b, ldb), m, n, k, alpha, beta, c, ldc);
}

void cblas_dgemm(CBLAS_ORDER, CBLAS_TRANSPOSE transposed_a, CBLAS_TRANSPOSE transposed_b, blasint m, blasint n,
                 blasint k, double alpha, const double* a, blasint lda, const double* b, blasint ldb, double beta,
                 double* c, blasint ldc) {
  product(view(transposed_a, a, lda), view(transposed_b, b, ldb), m, n, k, alpha, beta, c, ldc);
}

void cblas_sgemv(CBLAS_ORDER, CBLAS_TRANSPOSE transposed, blasint m, blasint n, float alpha, const float* a,
                 blasint lda, const float* x, blasint incx, float beta, float* y, blasint) {
  row_product(transposed, m, n, alpha, a, lda, x, incx, beta, y);
}

void cblas_dgemv(CBLAS_ORDER, CBLAS_TRANSPOSE transposed, blasint m, blasint n, double alpha, const double* a,
                 blasint lda, const double* x, blasint incx, double beta, double* y, blasint) {
  row_product(transposed, m, n, alpha, a, lda, x, incx, beta, y);
}
