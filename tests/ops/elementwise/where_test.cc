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

TEST(Where, RejectsBadInput) {
  const Tensor condition = full({2}, 1, boolean);
  expect_error([] { where(zeros({2}), zeros({2}), zeros({2})); }, "[where] the condition is f32, not bool: shape [2]");
  expect_error([&] { where(condition, zeros({2}), zeros({2}, i64)); },
               "[where] dtypes differ: f32 of shape [2] and i64 of shape [2]");
  expect_error([&] { where(condition, zeros({3}), zeros({3})); }, "[where] shapes [2] and [3] do not broadcast");
}

}  // namespace
}  // namespace norma
