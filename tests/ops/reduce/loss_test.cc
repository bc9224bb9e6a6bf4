// The losses of two tensors: against PyTorch, against finite differences, at kinks and limits, errors.
#include "norma/ops/reduce/loss.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

void agree(const char* op, const std::function<Tensor(const GoldenCase&, const Tensor&, const Tensor&)>& f) {
  for_each_case("loss", op, [&](const GoldenCase& c) {
    const Tensor a = c.leaf("a"), b = c.leaf("b");
    check_case(c, [&] { return f(c, a, b); }, {{"a", a}, {"b", b}});
  });
}

TEST(Loss, AgreesWithPyTorch) {
  for (const auto& [op, f] : std::vector<std::pair<const char*, Tensor (*)(const Tensor&, const Tensor&, Reduction)>>{
           {"mse", mse}, {"l1", l1}, {"bce", bce}, {"bce_with_logits_both", bce_with_logits}})
    agree(op, [f = f](const GoldenCase& c, const Tensor& a, const Tensor& b) { return f(a, b, reduction_of(c)); });
  for_each_case("loss", "bce_with_logits", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return bce_with_logits(x, c["target"]); }, {{"x", x}});
  });
  agree("smooth_l1", [](const GoldenCase& c, const Tensor& a, const Tensor& b) {
    return smooth_l1(a, b, c.attrs.at("beta"), reduction_of(c));
  });
  agree("huber", [](const GoldenCase& c, const Tensor& a, const Tensor& b) {
    return huber(a, b, c.attrs.at("delta"), reduction_of(c));
  });
  agree("kl_div", [](const GoldenCase& c, const Tensor& a, const Tensor& b) {
    if (c.attrs.at("reduction") == "batchmean") return kl_div(a, b, Reduction::sum) / static_cast<double>(a.dim(0));
    return kl_div(a, b, reduction_of(c));
  });
}

// As the header says: PyTorch's pos_weight, for targets that are 0 or 1.
TEST(Loss, WeightOfPositivesAgreesWithPyTorch) {
  for_each_case("loss", "pos_weight", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), target = c["target"];
    const auto loss = [&] {
      const Tensor each = bce_with_logits(x, target, Reduction::none) * (1 + (c["weight"] - 1) * target);
      return reduced(each, reduction_of(c));
    };
    check_case(c, loss, {{"x", x}});
  });
}

TEST(Loss, DirectionsAgreeWithPyTorch) {
  agree("cosine_similarity", [](const GoldenCase& c, const Tensor& a, const Tensor& b) {
    return cosine_similarity(a, b, c.attrs.at("axis"), c.attrs.at("eps"));
  });
  for_each_case("loss", "l2_normalize", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return l2_normalize(x, c.attrs.at("axis"), c.attrs.at("eps")); }, {{"x", x}});
  });
}

TEST(Loss, GradientsMatchFiniteDifferences) {
  const auto smooth = [](const Tensor& a, const Tensor& b, Reduction r) { return smooth_l1(a, b, 0.5, r); };
  const auto hubers = [](const Tensor& a, const Tensor& b, Reduction r) { return huber(a, b, 2, r); };
  const std::vector<std::function<Tensor(const Tensor&, const Tensor&, Reduction)>> losses = {
      mse, bce_with_logits, bce, kl_div, l1, smooth, hubers};
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{3, 5, 2}, Shape{33, 17}})
    for (size_t i = 0; i < losses.size(); ++i)
      for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
        if (shape.numel() > 100 && reduction != Reduction::mean) continue;  // to be quick
        const bool free = i < 2;  // the others want both within [0, 1], or apart from the kink
        Tensor a(shape, f64), b(shape, f64);
        if (free) Generator(7).fill_normal(a, 0, 1);
        else Generator(7).fill_uniform(a, 0.55, 0.9);
        Generator(3).fill_uniform(b, 0.1, 0.45);
        const auto result =
            gradcheck([&](const auto& in) { return losses[i](in[0], in[1], reduction); }, {there(a), there(b)});
        EXPECT_TRUE(result) << i << " " << shape.str() << " " << result.message;
      }
  for (int64_t axis : {0, 1, -1}) {
    for (double eps : {1e-12, 100.0}) {
      const auto cosine = gradcheck([&](const auto& in) { return cosine_similarity(in[0], in[1], axis, eps); },
                                    {random({3, 4, 5}), random({3, 4, 5}, 2) * 10});
      EXPECT_TRUE(cosine) << axis << " " << cosine.message;
      const auto unit = gradcheck([&](const auto& in) { return l2_normalize(in[0], axis, eps); }, {random({3, 4, 5})});
      EXPECT_TRUE(unit) << axis << " " << unit.message;
    }
  }
}

// Where the losses have a kink, or no finite slope, under an infinite upstream gradient also.
TEST(Loss, KinksHaveFiniteGradients) {
  const double inf = INFINITY;
  for (DType dtype : {f32, f64})
    for (double upstream : {1.0, inf}) {
      const Tensor x = there(tensor<double>({2, -1, 0})).to(dtype), dy = scalar(upstream);
      const Tensor far = tensor<double>({2, -3, 7}).to(dtype);
      const auto sums = [&](const Tensor& in) { return l1(in, x, Reduction::sum); };
      expect_values(gradient(sums, far, dy), {0, -upstream, upstream});
      const auto against = [&](const Tensor& in) { return l1(x, in, Reduction::none); };
      expect_values(gradient(against, far, dy), {0, -upstream, upstream});
      // 0 of a target is nothing, whatever the log-probability.
      const Tensor logs = tensor<double>({-inf, -1, -2}).to(dtype);
      const Tensor target = there(tensor<double>({0, 0.5, 0.5})).to(dtype);
      const auto kl = [&](const Tensor& in) { return kl_div(in, target, Reduction::sum); };
      EXPECT_NEAR(kl(there(logs)).item(), std::log(0.5) + 1.5, 1e-6);
      expect_values(gradient(kl, logs, dy), {0, -0.5 * upstream, -0.5 * upstream});
    }
  const Tensor x = there(tensor<double>({2, 0.5, 0, 3})), zero = zeros({4}, f64);
  expect_values(gradient([&](const Tensor& in) { return smooth_l1(in, x, 2, Reduction::sum); }, zero, scalar(1)),
                {-1, -0.25, 0, -1});
  expect_values(gradient([&](const Tensor& in) { return huber(x, in, 2, Reduction::sum); }, zero, scalar(1)),
                {-2, -0.5, 0, -2});
  expect_values(smooth_l1(there(tensor<double>({INFINITY, 1})), there(zeros({2}, f64)), 2, Reduction::none),
                {INFINITY, 0.25});
  const auto of_target = gradient([&](const Tensor& in) { return kl_div(x, in, Reduction::sum); }, zero, scalar(1));
  expect_values(of_target, {-101, -99.5, -99, -102});
}

TEST(Loss, BceOfCertainProbabilitiesIsFinite) {
  for (DType dtype : {f32, f64}) {
    const Tensor p = tensor<double>({0, 0, 1, 1, 0.5}).to(dtype);
    const Tensor target = there(tensor<double>({0, 1, 1, 0, 0.5})).to(dtype);
    const auto loss = [&](const Tensor& in) { return bce(in, target, Reduction::none); };
    EXPECT_TRUE(close(loss(there(p)), there(tensor<double>({0, 100, 0, 100, std::log(2)}).to(dtype)), 1e-6));
    EXPECT_TRUE(close(gradient(loss, p, scalar(1)), tensor<double>({0, -1e12, 0, 1e12, 0}).to(dtype)));
    const auto reversed = [&](const Tensor& in) { return bce(target, in, Reduction::sum); };
    EXPECT_TRUE(close(gradient(reversed, p, scalar(1)), tensor<double>({100, -100, -100, 100, 0}).to(dtype)));
  }
  EXPECT_NEAR(bce(there(tensor<double>({1e-9}).to(f32)), there(zeros({1}))).item() / 1e-9, 1, 1e-6);
  for (double outside : {-0.5, 1.5, double{NAN}})
    EXPECT_TRUE(std::isnan(bce(there(full({1}, outside)), there(ones({1}))).item())) << outside;
}

TEST(Loss, OfNoDirection) {
  const auto unit = [](const Tensor& in) { return l2_normalize(in); };
  for (DType dtype : {f32, f64}) {
    const Tensor x = tensor<double>({0, 0, 3, 4}, {2, 2}).to(dtype), dy = tensor<double>({1, -2, 0, 0}, {2, 2});
    EXPECT_TRUE(close(unit(there(x)), there(tensor<double>({0, 0, 0.6, 0.8}, {2, 2}).to(dtype))));
    EXPECT_TRUE(close(gradient(unit, x, dy), tensor<double>({1e12, -2e12, 0, 0}, {2, 2}).to(dtype)));
    EXPECT_TRUE(close(cosine_similarity(there(x), there(x)), there(tensor<double>({0, 1}).to(dtype))));
  }
  EXPECT_EQ(cosine_similarity(random({4, 1, 5}), random({3, 5})).shape(), (Shape{4, 3}));
  EXPECT_EQ(l2_normalize(random({0, 3})).shape(), (Shape{0, 3}));
}

TEST(Loss, SumsOfNothingAreZero) {
  const Tensor none = there(Tensor({0, 3}, f64));
  for (auto f : {mse, l1, bce, bce_with_logits, kl_div}) {
    EXPECT_EQ(f(none, none, Reduction::sum).item(), 0);
    EXPECT_EQ(f(none, none, Reduction::none).shape(), (Shape{0, 3}));
    EXPECT_EQ(gradient([&](const Tensor& in) { return f(in, none, Reduction::sum); }, none, scalar(1)).numel(), 0);
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
  expect_error([] { kl_div(zeros({2, 1}), zeros({2}), Reduction::none); }, "[kl_div] shapes differ: [2, 1] and [2]");
  expect_error([] { bce(zeros({2}, i64), zeros({2}, i64)); }, "[bce] wants floating tensors, not i64: shape [2]");
  expect_error([] { smooth_l1(zeros({0}), zeros({0})); }, "[smooth_l1] no elements: shape [0]");
  for (double beta : {0.0, -1.0, double{INFINITY}, double{NAN}})
    expect_error([&] { smooth_l1(zeros({2}), zeros({2}), beta); }, "is outside of (0, inf): shape [2]");
  for (double eps : {0.0, -1.0, 1e-19, double{INFINITY}, double{NAN}})
    expect_error([&] { l2_normalize(zeros({2}), 0, eps); }, "is outside of [1e-18, 1e18]: input [2]");
  expect_error([] { l2_normalize(zeros({2, 3}), 2); }, "[l2_normalize] axis 2");
  expect_error([] { l2_normalize(zeros({})); }, "[l2_normalize] axis -1");
}

}  // namespace
}  // namespace norma
