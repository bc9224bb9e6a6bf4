// Matrix products against three plain loops: transposes, leading dimensions, empty extents, every way of cutting.
#include "norma/ops/gemm.h"

#include <cmath>
#include <limits>

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

// op(A) op(B) in f64, from arrays whose rows are `pad` longer than they need be.
struct Problem {
  bool trans_a, trans_b;
  int64_t m, n, k, lda, ldb, ldc;
  Tensor a, b, c;

  Problem(bool ta, bool tb, int64_t rows, int64_t columns, int64_t depth, DType dtype, int64_t pad = 3)
      : trans_a(ta),
        trans_b(tb),
        m(rows),
        n(columns),
        k(depth),
        lda((ta ? m : k) + pad),
        ldb((tb ? k : n) + pad),
        ldc(n + pad) {
    a = random({ta ? k : m, lda}, 1).to(dtype);
    b = random({tb ? n : k, ldb}, 2).to(dtype);
    c = random({m, ldc}, 3).to(dtype);
  }

  template <class T>
  Tensor run(bool parallel, bool add, const Tensor& start) const {
    const Tensor out = start.clone();
    (parallel
         ? cpu::parallel_gemm<T>
         : cpu::gemm<T>)(cpu::Matrix<const T>{a.data<T>(), trans_a ? k : m, trans_a ? m : k, lda}.transpose(trans_a),
                         cpu::Matrix<const T>{b.data<T>(), trans_b ? n : k, trans_b ? k : n, ldb}.transpose(trans_b),
                         {out.mutable_data<T>(), m, n, ldc}, add);
    return out;
  }

  template <class T>
  Tensor expected(bool add) const {
    const Tensor out = c.to(f64).clone();
    double* to = out.mutable_data<double>();
    const T *p = a.data<T>(), *q = b.data<T>();
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l)
          sum += double{p[trans_a ? l * lda + i : i * lda + l]} * double{q[trans_b ? j * ldb + l : l * ldb + j]};
        double& y = to[i * ldc + j];
        y = add ? y + sum : sum;
      }
    return out;
  }
};

template <class T>
void check_all(int64_t m, int64_t n, int64_t k) {
  const bool large = m * n * k > 100000;
  for (int flags : large ? std::vector{1, 6} : std::vector{0, 1, 2, 3, 4, 5, 6, 7}) {
    const Problem p(flags & 1, flags & 2, m, n, k, dtype_of<T>(), flags & 4 ? 0 : 3);
    // Rounding of a sum of k products, as a multiple of the largest: half a bit a term.
    const double tolerance = std::numeric_limits<T>::epsilon() * (2 + std::sqrt(static_cast<double>(k)));
    const Tensor want = p.expected<T>(true), product = p.expected<T>(false);
    for (bool parallel : {false, true}) {
      SCOPED_TRACE(fmt::format("[{}, {}, {}] flags {} parallel {} {}", m, n, k, flags, parallel, dtype_of<T>()));
      EXPECT_TRUE(close(p.run<T>(parallel, true, p.c), want, tolerance));
      // Without `add`, C must not be read, nor what lies between its rows be touched.
      const Tensor poisoned = p.c.clone(), inside = view::slice(poisoned, 1, 0, n);
      inside.fill(NAN);
      EXPECT_TRUE(close(p.run<T>(parallel, false, poisoned), product, tolerance));
    }
  }
}

TEST(Gemm, AgreesWithPlainLoops) {
  for (const auto& [m, n, k] :
       std::vector<std::array<int64_t, 3>>{{1, 1, 1},
                                           {3, 5, 2},
                                           {1, 17, 33},
                                           {33, 1, 17},
                                           {17, 33, 1},
                                           {0, 3, 2},
                                           {3, 0, 2},
                                           {3, 2, 0},
                                           {301, 33, 120},
                                           {33, 301, 120},  // blocks of rows, of columns
                                           {101, 203, 70},
                                           {49, 577, 40},  // of both; the last block is short, or empty
                                           {17, 33, 3001},
                                           {100, 50, 2100},  // ranges of k, and of both
                                           {1, 0, 2},
                                           {1, 2, 0},
                                           {1, 130, 3001},
                                           {1, 33, 6001},
                                           {1, 3001, 130}})  // a single row
  {
    check_all<double>(m, n, k);
    check_all<float>(m, n, k);
  }
}

TEST(Gemm, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{
           {301, 77, 64}, {65, 300, 99}, {17, 33, 5000}, {100, 50, 2100}, {1, 999, 2000}, {1, 33, 6001}}) {
    const Problem p(false, true, m, n, k, f32);
    set_num_threads(1);
    const Tensor one = p.run<float>(true, false, p.c);
    for (int threads : {2, 3}) {
      set_num_threads(threads);
      EXPECT_TRUE(same_bits(p.run<float>(true, false, p.c), one)) << threads << " threads";
    }
  }
  set_num_threads(before);
}

// A factor of 0 makes nothing of an infinity: the product is NaN, in a single row as in several.
TEST(Gemm, ZeroTimesInfinityIsNaN) {
  const auto infinity = std::numeric_limits<float>::infinity();
  for (const int64_t rows : {1, 2})
    for (const bool transposed : {false, true}) {
      const Tensor a = ones({rows, 40}), b = ones({40, 40}), c = zeros({rows, 40});
      view::slice(a, 1, 7, 8).fill(0);
      b.mutable_data<float>()[transposed ? 3 * 40 + 7 : 7 * 40 + 3] = infinity;  // of row 7, column 3
      cpu::gemm<float>({a.data<float>(), rows, 40},
                       cpu::Matrix<const float>{b.data<float>(), 40, 40}.transpose(transposed),
                       {c.mutable_data<float>(), rows, 40}, false);
      for (int64_t j = 0; j < 40; ++j) EXPECT_EQ(std::isnan(c.at({rows - 1, j})), j == 3) << rows << " " << j;
    }
}

TEST(Gemm, RejectsExtentsBeyondOpenBlas) {
  const double x = 0;
  double y = 0;
  const int64_t large = int64_t{1} << 31;
  expect_error(
      [&] {
        cpu::gemm<double>({&x, 1, large}, {&x, large, 1}, {&y, 1, 1}, false);
      },
      "[gemm] extent 2147483648 is too large for OpenBLAS");
}

}  // namespace
}  // namespace norma
