// matmul: against PyTorch, against finite differences, broadcasting, strides, errors.
#include "norma/ops/linalg/matmul.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Matmul, AgreesWithPyTorch) {
  for_each_case("matmul", "matmul", [](const GoldenCase& c) {
    const Tensor a = c.leaf("a"), b = c.leaf("b");
    check_case(c, [&] { return matmul(a, b); }, {{"a", a}, {"b", b}});
  });
}

TEST(Matmul, GradientsMatchFiniteDifferences) {
  for (const auto& [a, b] : std::vector<std::pair<Shape, Shape>>{{{1, 1}, {1, 1}},
                                                                 {{33, 17}, {17, 5}},
                                                                 {{1, 7}, {7, 1}},
                                                                 {{2, 3, 5, 7}, {7, 2}},
                                                                 {{3, 5}, {2, 5, 2}},
                                                                 {{2, 1, 3, 5}, {3, 5, 2}},
                                                                 {{17, 2, 3}, {17, 3, 2}},
                                                                 {{17, 2, 3}, {1, 3, 2}}}) {
    const auto result = gradcheck([](const auto& in) { return matmul(in[0], in[1]); }, {random(a, 1), random(b, 2)});
    EXPECT_TRUE(result) << a.str() << " " << b.str() << " " << result.message;
  }
  const auto square = gradcheck([](const auto& in) { return matmul(in[0], in[0]); }, {random({5, 5})});
  EXPECT_TRUE(square) << square.message;
}

TEST(Matmul, ReadsStridedInputs) {
  const Tensor a = random({6, 10, 14}, 1), b = random({14, 10}, 2);
  const auto same = [](const Tensor& x, const Tensor& y) {
    return same_bits(matmul(x, y), matmul(x.contiguous(), y.contiguous()));
  };
  EXPECT_TRUE(same(view::permute(a, {0, 2, 1}), view::permute(b, {1, 0})));
  EXPECT_TRUE(same(view::permute(a, {1, 0, 2}), b));
  EXPECT_TRUE(same(view::slice(a, 2, 0, 14, 2), view::slice(b, 0, 0, 14, 2)));
  EXPECT_TRUE(same(view::expand(random({10, 1}, 3), {10, 14}), b));
}

TEST(Matmul, KeepsOnlyWhatItsGradientsNeed) {
  Tensor a = random({2, 3}), b = random({3, 5});
  a.set_requires_grad();
  Tape tape;
  const Tensor y = matmul(a, b);
  EXPECT_FALSE(a.storage()->pinned());
  EXPECT_TRUE(b.storage()->pinned());
  const Tensor dy = ones({2, 5}, f64, test_device());
  tape.backward(y, {.seed = dy});
  EXPECT_TRUE(close(a.grad(), matmul(dy, view::permute(b, {1, 0}))));
}

TEST(Matmul, TakesEmptyExtents) {
  EXPECT_EQ(matmul(zeros({0, 3}), zeros({3, 2})).shape(), (Shape{0, 2}));
  EXPECT_EQ(matmul(zeros({0, 4, 3}), zeros({3, 2})).shape(), (Shape{0, 4, 2}));
  EXPECT_TRUE(same_bits(matmul(zeros({2, 0}), zeros({0, 3})), zeros({2, 3})));
  EXPECT_TRUE(same_bits(matmul(zeros({20, 2, 0}), zeros({20, 0, 3})), zeros({20, 2, 3})));
}

TEST(Matmul, RejectsBadInput) {
  expect_error(
      [] {
        matmul(zeros({2, 3}), zeros({4, 5}));
      },
      "[matmul] a has 3 columns, b has 4 rows: a [2, 3], b [4, 5]");
  expect_error([] { matmul(zeros({3}), zeros({3, 5})); }, "[matmul] wants matrices: a [3], b [3, 5]");
  expect_error([] { matmul(zeros({2, 2, 3}), zeros({4, 3, 5})); }, "[matmul] shapes [2] and [4] do not broadcast");
  expect_error(
      [] {
        matmul(zeros({2, 3}), zeros({3, 5}, f64));
      },
      "[matmul] dtypes differ: f32 of shape [2, 3] and f64 of shape [3, 5]");
}

TEST(Matmul, PrecisionIsNamed) {
  EXPECT_EQ(matmul_precision, MatmulPrecision::highest);  // unless one asks
  const Tensor a = there(random({8, 8}, 1).to(f32)), b = there(random({8, 8}, 2).to(f32)), exact = matmul(a, b);
  set_matmul_precision("high");
  EXPECT_EQ(matmul_precision, MatmulPrecision::high);
  EXPECT_TRUE(close(matmul(a, b), exact, 1e-3));  // three digits on tensor cores; the CPU has all of them
  expect_error([] { set_matmul_precision("medium"); }, "[matmul] 'medium' is not a precision");
  EXPECT_EQ(matmul_precision, MatmulPrecision::high);
  set_matmul_precision("highest");
  EXPECT_EQ(matmul_precision, MatmulPrecision::highest);
  EXPECT_TRUE(same_bits(matmul(a, b), exact));
}

}  // namespace
}  // namespace norma
