// where: against PyTorch, its gradients, dtypes, errors.
#include "norma/ops/elementwise/where.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Where, AgreesWithPyTorch) {
  for_each_case("where", "where", [](const GoldenCase& c) {
    const Tensor a = c.leaf("a"), b = c.leaf("b");
    check_case(c, [&] { return where(c["cond"], a, b); }, {{"a", a}, {"b", b}});
  });
}

TEST(Where, GradientsMatchFiniteDifferences) {
  for (const auto& [sc, sa, sb] : std::vector<std::array<Shape, 3>>{
           {Shape{7}, Shape{7}, Shape{7}}, {Shape{33, 1}, Shape{17}, Shape{}}, {Shape{}, Shape{2, 3}, Shape{2, 1}}}) {
    const Tensor condition = gt(random(sc, 5), 0.0);
    const auto result =
        gradcheck([&](const auto& in) { return where(condition, in[0], in[1]); }, {random(sa, 1), random(sb, 2)});
    EXPECT_TRUE(result) << sc.str() << " " << result.message;
  }
}

TEST(Where, ChoosesAmongAnyDtypeAndStride) {
  const Tensor a = arange(6), condition = eq(view::permute(view::reshape(arange(6), {2, 3}), {1, 0}), 3);  // [3, 2]
  const Tensor y = where(condition, view::reshape(a, {3, 2}), full({}, -1, i64));
  EXPECT_EQ(y.to_vector<int64_t>(), (std::vector<int64_t>{-1, 1, -1, -1, -1, -1}));
  // What is not chosen does not matter.
  EXPECT_EQ(where(full({}, 0, boolean), scalar(NAN), scalar(2)).item(), 2);
}

TEST(Where, MasksAndTrianglesAgreeWithPyTorch) {
  for (const char* op : {"masked_fill", "triu", "tril"}) {
    for_each_case("rearrange", op, [](const GoldenCase& c) {
      const Tensor x = c.leaf("x");
      const auto f = [&] {
        if (c.op == "masked_fill") return masked_fill(x, c["mask"], c.attrs["value"]);
        return c.op == "triu" ? triu(x, c.attrs["diagonal"]) : tril(x, c.attrs["diagonal"]);
      };
      check_case(c, f, {{"x", x}});
    });
  }
}

// What is masked sends and gets nothing, whatever is there.
TEST(Where, MasksSelect) {
  const Tensor x = there(tensor({{1., double{NAN}}, {double{INFINITY}, 4.}}));
  const Tensor bad = there(tensor({{1., double{NAN}}, {2., double{INFINITY}}})),
               mask = there(tensor({{false, true}, {true, false}}));
  expect_values(masked_fill(x, mask, -1), {1, -1, -1, 4});
  expect_values(gradient([&](const Tensor& in) { return masked_fill(in, mask, -1); }, x, bad), {1, 0, 0, INFINITY});
  expect_values(tril(x, -1), {0, 0, INFINITY, 0});
  expect_values(triu(x), {1, NAN, 0, 4});
  expect_values(gradient([](const Tensor& in) { return tril(in); }, x, bad), {1, 0, 2, INFINITY});
  EXPECT_EQ(masked_fill(there(tensor({1, 2})), there(tensor({true, false})), 7).to_vector<int64_t>(),
            (std::vector<int64_t>{7, 2}));
}

TEST(Where, TrianglesTakeAnyDtypeShapeAndDiagonal) {
  const auto result =
      gradcheck([](const auto& in) { return triu(tanh(in[0]), -1) + tril(in[0], 1); }, {random({2, 4, 3})});
  EXPECT_TRUE(result) << result.message;
  for (DType dtype : {f32, f64, i64, u8, boolean}) {
    const Tensor x = there(ones({2, 2, 3}, dtype));
    EXPECT_EQ(triu(x, 1).to_vector<int64_t>(), (std::vector<int64_t>{0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1}));
    EXPECT_EQ(tril(x).to_vector<int64_t>(), (std::vector<int64_t>{1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0}));
    for (int64_t all : {int64_t{-2}, INT64_MIN}) EXPECT_TRUE(same_bits(triu(x, all), x));
    for (int64_t all : {int64_t{3}, INT64_MAX}) EXPECT_TRUE(same_bits(tril(x, all), x));
    for (int64_t nothing : {int64_t{3}, INT64_MAX}) EXPECT_TRUE(same_bits(triu(x, nothing), zeros_like(x)));
    for (int64_t nothing : {int64_t{-2}, INT64_MIN}) EXPECT_TRUE(same_bits(tril(x, nothing), zeros_like(x)));
  }
  EXPECT_EQ(triu(there(zeros({0, 3}))).shape(), (Shape{0, 3}));
  EXPECT_EQ(tril(there(zeros({2, 3, 0}))).shape(), (Shape{2, 3, 0}));
}

TEST(Where, RejectsBadMasks) {
  const Tensor x = zeros({2});
  expect_error([&] { masked_fill(x, x, 0); }, "[where] the condition is f32, not bool: shape [2]");
  expect_error([&] { masked_fill(x, full({3}, 1, boolean), 0); }, "[where] shapes [3] and [2] do not broadcast");
  expect_error([] { masked_fill(Tensor(), full({3}, 1, boolean), 0); }, "[masked_fill] an undefined tensor was used");
  expect_error([&] { triu(x); }, "[triu] wants [..., R, C]: shape [2]");
  expect_error([] { tril(scalar(1)); }, "[tril] wants [..., R, C]: shape []");
  expect_error([] { tril(Tensor()); }, "[tril] an undefined tensor was used");
}

TEST(Where, RejectsBadInput) {
  const Tensor condition = full({2}, 1, boolean);
  expect_error([] { where(zeros({2}), zeros({2}), zeros({2})); }, "[where] the condition is f32, not bool: shape [2]");
  expect_error([&] { where(condition, zeros({2}), zeros({2}, i64)); },
               "[where] dtypes differ: f32 of shape [2] and i64 of shape [2]");
  expect_error([&] { where(condition, zeros({3}), zeros({3})); }, "[where] shapes [2] and [3] do not broadcast");
}

}  // namespace
}  // namespace norma
