// mse and bce_with_logits: against PyTorch, against finite differences, large logits, errors.
#include "norma/ops/reduce/loss.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Loss, AgreesWithPyTorch) {
  for_each_case("loss", "mse", [](const GoldenCase& c) {
    const Tensor a = c.leaf("a"), b = c.leaf("b");
    check_case(c, [&] { return mse(a, b); }, {{"a", a}, {"b", b}});
  });
  for_each_case("loss", "bce_with_logits", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return bce_with_logits(x, c["target"]); }, {{"x", x}});
  });
}

TEST(Loss, GradientsMatchFiniteDifferences) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{3, 5, 2}, Shape{33, 17}}) {
    Tensor target = random(shape, 2);
    const auto squares = gradcheck([](const auto& in) { return mse(in[0], in[1]); }, {random(shape), target});
    EXPECT_TRUE(squares) << shape.str() << " " << squares.message;
    Generator(3).fill_uniform(target, 0.1, 0.9);
    const auto entropy =
        gradcheck([](const auto& in) { return bce_with_logits(in[0], in[1]); }, {random(shape), target});
    EXPECT_TRUE(entropy) << shape.str() << " " << entropy.message;
  }
}

TEST(Loss, BceStandsLargeLogits) {
  EXPECT_EQ(bce_with_logits(tensor<double>({1000, -1000}), tensor<double>({1, 0})).item(), 0);
  EXPECT_EQ(bce_with_logits(tensor<double>({1000, -1000}), tensor<double>({0, 1})).item(), 1000);
  // Small losses keep their digits.
  EXPECT_NEAR(bce_with_logits(tensor<double>({20}).to(f32), ones({1})).item() / std::exp(-20), 1, 1e-6);
}

TEST(Loss, BceOfInfiniteLogitsIsTheLimit) {
  const double inf = INFINITY;
  for (DType dtype : {f32, f64})
    for (const auto& [logit, target, want] : std::vector<std::array<double, 3>>{
             {inf, 1, 0}, {-inf, 0, 0}, {-inf, 1, inf}, {inf, 0, inf}, {inf, 0.5, inf}, {-inf, 0.5, inf}}) {
      const Tensor x = full({2}, logit, dtype), t = there(full({2}, target, dtype));
      EXPECT_EQ(bce_with_logits(there(x), t).item(), want) << logit << " " << target;
      const double slope = (logit > 0 ? 1 : 0) - target;
      expect_values(gradient([&](const Tensor& in) { return bce_with_logits(in, t); }, x, scalar(2)), {slope, slope});
    }
  EXPECT_TRUE(std::isnan(bce_with_logits(tensor<double>({NAN}), tensor<double>({0})).item()));
  EXPECT_TRUE(std::isnan(bce_with_logits(tensor<double>({NAN}), tensor<double>({1})).item()));
}

TEST(Loss, MseOfLargeDifferencesIsFinite) {
  const Tensor a = tensor<double>({2e19, 0, 1e19, 0}).to(f32), b = there(tensor<double>({0, 0, 0, 1}).to(f32));
  EXPECT_NEAR(mse(there(a), b).item(), 1.25e38, 1e32);
  expect_values(gradient([&](const Tensor& in) { return mse(in, b); }, a, scalar(1)), {1e19f, 0, 0.5e19f, -0.5});
  expect_values(gradient([&](const Tensor& in) { return mse(b, in); }, a, scalar(1)), {1e19f, 0, 0.5e19f, -0.5});
}

TEST(Loss, RejectsBadInput) {
  expect_error([] { mse(zeros({2, 3}), zeros({3})); }, "[mse] shapes differ: [2, 3] and [3]");
  expect_error([] { mse(zeros({0}), zeros({0})); }, "[mse] no elements: shape [0]");
  expect_error([] { bce_with_logits(zeros({2}), zeros({2}, f64)); },
               "[bce_with_logits] dtypes differ: f32 of shape [2] and f64 of shape [2]");
}

}  // namespace
}  // namespace norma
