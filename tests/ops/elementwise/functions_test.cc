// The elementwise functions and activations that came later than those of unary_test.cc: against PyTorch, against
// finite differences, far out, where they are constant.
#include <map>

#include "norma/ops/elementwise/binary.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

constexpr double kInfinity = INFINITY;

Tensor call(const GoldenCase& c, const Tensor& x) {
  if (c.op == "elu") return elu(x, c.attrs["alpha"]);
  if (c.op == "softplus") return softplus(x, c.attrs["beta"], c.attrs["threshold"]);
  static const std::map<std::string, Tensor (*)(const Tensor&)> functions = {{"expm1", expm1},
                                                                             {"log1p", log1p},
                                                                             {"sin", sin},
                                                                             {"cos", cos},
                                                                             {"erf", erf},
                                                                             {"floor", floor},
                                                                             {"sign", sign},
                                                                             {"round", round},
                                                                             {"mish", mish},
                                                                             {"relu6", relu6},
                                                                             {"hardswish", hardswish},
                                                                             {"hardsigmoid", hardsigmoid}};
  return functions.at(c.op)(x);
}

TEST(Functions, AgreeWithPyTorch) {
  for (const char* op : {"expm1", "log1p", "sin", "cos", "erf", "floor", "sign", "round", "elu", "softplus", "mish",
                         "relu6", "hardswish", "hardsigmoid"})
    for_each_case("functions", op, [](const GoldenCase& c) {
      const Tensor x = c.leaf("x");
      // PyTorch's hardsigmoid has a 1 / 6 of f32 in its gradient, in f64 too.
      check_case(
          c, [&] { return call(c, x); }, {{"x", x}}, c.op == "hardsigmoid" ? 2e-6 : 0);
    });
}

TEST(Functions, PReluAgreesWithPyTorch) {
  for_each_case("functions", "prelu", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), w = c.leaf("w");
    check_case(c, [&] { return prelu(x, w); }, {{"x", x}, {"w", w}});
  });
}

struct Function {
  const char* name;
  Tensor (*f)(const Tensor&);
  std::vector<double> kinks = {};
};

TEST(Functions, GradientsMatchFiniteDifferences) {
  const std::vector<Function> functions = {
      {"expm1", expm1},
      {"log1p", [](const Tensor& x) { return log1p(square(x)); }},
      {"sin", sin},
      {"cos", cos},
      {"erf", erf},
      {"floor", [](const Tensor& x) { return floor(x * 2); }, {-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5}},
      {"round", [](const Tensor& x) { return round(x + 0.5); }, {-3, -2, -1, 0, 1, 2, 3}},
      {"sign", sign, {0}},
      {"elu", [](const Tensor& x) { return elu(x, 0.7); }, {0}},
      {"softplus", [](const Tensor& x) { return softplus(x, 3, kInfinity); }},
      {"softplus, negative", [](const Tensor& x) { return softplus(x, -0.5); }},
      {"mish", [](const Tensor& x) { return mish(x * 3); }},
      {"hardswish", [](const Tensor& x) { return hardswish(x * 3); }, {-1, 1}},
      {"hardsigmoid", [](const Tensor& x) { return hardsigmoid(x * 3); }, {-1, 1}},
      {"relu6", [](const Tensor& x) { return relu6(x * 6); }, {0, 1}},
  };
  for (const Function& function : functions)
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 5, 2}, Shape{33, 17}}) {
      const auto result =
          gradcheck([&](const auto& in) { return function.f(in[0]); }, {random(shape)}, {.kinks = function.kinks});
      EXPECT_TRUE(result) << function.name << " " << shape.str() << " " << result.message;
    }
  for (const Shape& weight : {Shape{5}, Shape{1}, Shape{3, 1}}) {
    const auto result = gradcheck([](const auto& in) { return prelu(in[0], in[1]); },
                                  {random({2, 3, 5}), random(weight, 3)}, {.kinks = {0}});
    EXPECT_TRUE(result) << "prelu " << weight.str() << " " << result.message;
  }
}

// To the last digits of the dtype, where the formulas taken literally would lose them, overflow, or be NaN.
TEST(Functions, KeepTheirDigits) {
  struct Case {
    const char* name;
    Tensor (*f)(const Tensor&);
    std::function<double(double)> value, slope;
  };
  const auto sigmoid_of = [](double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); };
  const auto softplus_of = [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); };
  const auto gate = [=](double x) {
    const double e = std::exp(-std::abs(x)), n = x > 0 ? 1 + 2 * e : e * (e + 2);
    return n / (n + (x > 0 ? 2 * e * e : 2));
  };
  const std::vector<Case> cases = {
      {"expm1", expm1, [](double x) { return std::expm1(x); }, [](double x) { return std::exp(x); }},
      {"log1p", log1p, [](double x) { return std::log1p(x); }, [](double x) { return 1 / (1 + x); }},
      {"elu", [](const Tensor& x) { return elu(x); }, [](double x) { return x > 0 ? x : std::expm1(x); },
       [](double x) { return x > 0 ? 1 : std::exp(x); }},
      {"softplus", [](const Tensor& x) { return softplus(x, 1, kInfinity); }, softplus_of, sigmoid_of},
      {"mish", mish, [=](double x) { return x * gate(x); },
       [=](double x) { return gate(x) + (std::abs(x) < 800 ? x * (1 - gate(x)) * (1 + gate(x)) * sigmoid_of(x) : 0); }},
  };
  for (const auto& [name, f, value, slope] : cases)
    for (DType dtype : {f32, f64})
      for (double size : {1e-30, 1e-10, 1e-6, 1e-3, 0.02, 0.3, 0.6, 3.0, 10.0, 17.5, 30.0, 88.0, 120.0, 1e4, 1e30})
        for (double number : {size, -size}) {
          const double x = full({1}, number, dtype).item();
          if (name == std::string("log1p") && x <= -1) continue;
          const double digits = dtype == f32 ? 3e-7 : 1e-14, tiny = dtype == f32 ? 2e-45 : 1e-320;
          const auto near = [&](double got, double want) {
            const double most = full({1}, want, dtype).item();
            return got == most || std::abs(got - want) <= digits * std::abs(want) + tiny;
          };
          const double got = f(there(full({5}, x, dtype))).to_vector<double>()[3];
          EXPECT_TRUE(near(got, value(x))) << name << " of " << x << " in " << name_of(dtype) << ": " << got;
          const double steep = gradient(f, full({5}, x, dtype), scalar(1)).to_vector<double>()[3];
          // Mish has a minimum at -1.19, near which digits of its slope cancel.
          if (name == std::string("mish") && x < -0.9 && x > -2) continue;
          EXPECT_TRUE(near(steep, slope(x)))
              << name << "' of " << x << " in " << name_of(dtype) << ": " << steep << ", want " << slope(x);
        }
}

// Values and slopes at infinity and at NaN.
TEST(Functions, HaveTheirLimits) {
  const double inf = kInfinity, nan = NAN;
  const Tensor x = tensor<double>({-inf, inf, nan, 0});
  const auto check = [&](const char* name, Tensor (*f)(const Tensor&), std::vector<double> values,
                         std::vector<double> slopes) {
    for (DType dtype : {f32, f64}) {
      EXPECT_TRUE(close(f(there(x.to(dtype))), tensor(values, {4}))) << name;
      EXPECT_TRUE(close(gradient(f, x.to(dtype), scalar(1)), tensor(slopes, {4}))) << "slope of " << name;
    }
  };
  check("expm1", expm1, {-1, inf, nan, 0}, {0, inf, nan, 1});
  check("log1p", log1p, {nan, inf, nan, 0}, {-0.0, 0, nan, 1});
  check("erf", [](const Tensor& in) { return erf(in) * 2; }, {-2, 2, nan, 0}, {0, 0, nan, 2 * 2 / std::sqrt(M_PI)});
  check("elu", [](const Tensor& in) { return elu(in, 0.5); }, {-0.5, inf, nan, 0}, {0, 1, nan, 0.5});
  check("elu of alpha 0", [](const Tensor& in) { return elu(in, 0); }, {0, inf, nan, 0}, {0, 1, 1, 0});
  check("softplus", [](const Tensor& in) { return softplus(in, 2) - 0.5 * std::log(2); },
        {-0.5 * std::log(2), inf, nan, 0}, {0, 1, nan, 0.5});
  check("mish", mish, {0, inf, nan, 0}, {0, 1, nan, 0.6});
  check("hardswish", hardswish, {0, inf, nan, 0}, {0, 1, nan, 0.5});
  check("relu6", relu6, {0, 6, nan, 0}, {0, 0, 1, 0});
  check("floor", floor, {-inf, inf, nan, 0}, {0, 0, 0, 0});
  check("round", round, {-inf, inf, nan, 0}, {0, 0, 0, 0});
  check("sign", sign, {-1, 1, nan, 0}, {0, 0, 0, 0});
  EXPECT_EQ(log1p(full({1}, -1)).item(), -inf);
  expect_values(round(there(tensor<double>({0.5, 1.5, -0.5, -2.5, 1e300}))), {0, 2, 0, -2, 1e300});
}

// Constant parts have the gradient 0, whatever arrives.
TEST(Functions, GradientsOfConstantPartsAreZero) {
  const Tensor x = tensor<double>({-7, -3, 0, 3, 7});
  for (double dy : {kInfinity, -kInfinity, double{NAN}, 6.0})
    for (DType dtype : {f32, f64}) {
      const Tensor up = scalar(dy, f64), in = x.to(dtype);
      for (auto f : {floor, round, sign}) expect_values(gradient(f, in, up), {0, 0, 0, 0, 0}, "steps");
      expect_values(gradient(relu6, in, up), {0, 0, 0, dy, 0}, "relu6");
      expect_values(gradient(hardsigmoid, in, up), {0, 0, dy / 6, 0, 0}, "hardsigmoid");
      expect_values(gradient(hardswish, in, up), {0, 0, dy / 2, dy, dy}, "hardswish");
      const Tensor weight = there(tensor<double>({0.5}).to(dtype));
      expect_values(gradient([&](const Tensor& t) { return prelu(t, weight); }, in, up),
                    {dy / 2, dy / 2, dy / 2, dy, dy}, "prelu");
      const Tensor positive = there(tensor<double>({1, kInfinity}).to(dtype));
      expect_values(gradient([&](const Tensor& t) { return prelu(positive, t); }, weight.to(cpu_device), up), {0},
                    "weight of prelu");
    }
}

TEST(Functions, SoftplusIsItsInputAboveTheThreshold) {
  const Tensor x = there(tensor<double>({9.5, 10.5}));
  expect_values(softplus(x, 2), {9.5 + std::log1p(std::exp(-19)) / 2, 10.5});
  expect_values(gradient([](const Tensor& in) { return softplus(in, 2, -1); }, tensor<double>({0, 1}), scalar(3)),
                {3, 3});
}

TEST(Functions, ReadStridedAndEmptyInputs) {
  const Tensor x = random({4, 6}), t = view::permute(x, {1, 0}), s = view::slice(x, 1, 1, 6, 2);
  for (auto f : {expm1, log1p, sin, cos, erf, floor, round, sign, mish, hardswish, hardsigmoid, relu6}) {
    EXPECT_TRUE(same_bits(f(abs(t)), f(abs(t).contiguous())));
    EXPECT_TRUE(same_bits(f(s), f(s.contiguous())));
    EXPECT_EQ(f(there(zeros({0, 3}))).shape(), (Shape{0, 3}));
  }
  EXPECT_TRUE(same_bits(prelu(t, random({4})), prelu(t.contiguous(), random({4}))));
  EXPECT_EQ(prelu(there(zeros({0, 3})), there(zeros({3}))).shape(), (Shape{0, 3}));
}

TEST(Functions, RejectBadInput) {
  expect_error([] { expm1(zeros({2}, i64)); }, "[expm1] wants floating tensors, not i64: shape [2]");
  expect_error([] { floor(zeros({2}, u8)); }, "[floor] wants floating tensors, not u8: shape [2]");
  expect_error([] { elu(zeros({2}), NAN); }, "[elu] parameters nan and 0: want numbers");
  expect_error([] { softplus(zeros({2}), NAN); }, "[softplus] parameters nan and 20: want numbers");
  expect_error([] { softplus(zeros({2}), 1, NAN); }, "[softplus] parameters 1 and nan: want numbers");
  expect_error([] { prelu(zeros({2, 3}), zeros({2})); }, "[prelu] shapes [2, 3] and [2] do not broadcast");
  expect_error([] { prelu(zeros({2}), zeros({2}, f64)); }, "[prelu] dtypes differ");
}

}  // namespace
}  // namespace norma
