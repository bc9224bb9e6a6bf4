// The part of the CBLAS interface that norma calls, for builds without OpenBLAS (NORMA_OPENBLAS=OFF): a browser has
// none, and a cross compiler seldom finds one. Row-major products only. It is not meant for programs of its own, and is
// not installed.
#pragma once

typedef int blasint;
enum CBLAS_ORDER { CblasRowMajor = 101 };
enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112 };

// c [m, n] = alpha op(a) [m, k] op(b) [k, n] + beta c, with rows lda, ldb, ldc elements apart in memory. For beta = 0,
// c is written without being read.
void cblas_sgemm(CBLAS_ORDER order, CBLAS_TRANSPOSE transposed_a, CBLAS_TRANSPOSE transposed_b, blasint m, blasint n,
                 blasint k, float alpha, const float* a, blasint lda, const float* b, blasint ldb, float beta, float* c,
                 blasint ldc);
void cblas_dgemm(CBLAS_ORDER order, CBLAS_TRANSPOSE transposed_a, CBLAS_TRANSPOSE transposed_b, blasint m, blasint n,
                 blasint k, double alpha, const double* a, blasint lda, const double* b, blasint ldb, double beta,
                 double* c, blasint ldc);

// y = alpha op(a) x + beta y, where a is [m, n] and the elements of x are incx apart, those of y beside each other.
void cblas_sgemv(CBLAS_ORDER order, CBLAS_TRANSPOSE transposed, blasint m, blasint n, float alpha, const float* a,
                 blasint lda, const float* x, blasint incx, float beta, float* y, blasint incy);
void cblas_dgemv(CBLAS_ORDER order, CBLAS_TRANSPOSE transposed, blasint m, blasint n, double alpha, const double* a,
                 blasint lda, const double* x, blasint incx, double beta, double* y, blasint incy);

inline void openblas_set_num_threads(int) {}  // these products have the thread that calls them
