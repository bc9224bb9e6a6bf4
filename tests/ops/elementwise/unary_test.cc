// Elementwise functions of one tensor: against PyTorch, against finite differences, and their errors.
#include "norma/ops/elementwise/unary.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

Tensor call(const GoldenCase& c, const Tensor& x) {
  if (c.op == "clamp") return clamp(x, c.attrs["lo"], c.attrs["hi"]);
  if (c.op == "leaky_relu") return leaky_relu(x, c.attrs["slope"]);
  if (c.op == "gelu") return c.attrs["tanh"] ? gelu_tanh(x) : gelu(x);
  static const std::map<std::string, Tensor (*)(const Tensor&)> functions = {
      {"neg", neg}, {"exp", exp},   {"log", log},         {"sqrt", sqrt}, {"rsqrt", rsqrt},
      {"abs", abs}, {"tanh", tanh}, {"sigmoid", sigmoid}, {"relu", relu}, {"silu", silu}};
  return functions.at(c.op)(x);
}

TEST(Unary, AgreesWithPyTorch) {
  for_each_case("unary", "", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return call(c, x); }, {{"x", x}});
  });
}

struct Function {
  const char* name;
  Tensor (*f)(const Tensor&);
  bool positive = false;
  std::vector<double> kinks = {};
};

TEST(Unary, GradientsMatchFiniteDifferences) {
  const std::vector<Function> functions = {
      {"neg", neg},
      {"exp", exp},
      {"log", log, true},
      {"sqrt", sqrt, true},
      {"rsqrt", rsqrt, true},
      {"abs", abs, false, {0}},
      {"square", square},
      {"clamp", [](const Tensor& x) { return clamp(x, -0.5, 0.7); }, false, {-0.5, 0.7}},
      {"tanh", tanh},
      {"sigmoid", sigmoid},
      {"relu", relu, false, {0}},
      {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.1); }, false, {0}},
      {"gelu", gelu},
      {"gelu_tanh", gelu_tanh},
      {"silu", silu}};
  for (const Function& function : functions) {
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{3, 5, 2}, Shape{33, 17}}) {
      Tensor x = random(shape);
      if (function.positive) Generator(3).fill_uniform(x, 0.3, 3);
      const auto result = gradcheck([&](const auto& in) { return function.f(in[0]); }, {x}, {.kinks = function.kinks});
      EXPECT_TRUE(result) << function.name << " " << shape.str() << " " << result.message;
    }
  }
}

TEST(Unary, ReadsStridedInputs) {
  const Tensor x = random({4, 6});
  const Tensor t = view::permute(x, {1, 0});
  EXPECT_TRUE(same_bits(exp(t), exp(t.contiguous())));
  const Tensor s = view::slice(x, 1, 1, 6, 2);
  EXPECT_TRUE(same_bits(exp(s), exp(s.contiguous())));
}

constexpr double kInfinity = INFINITY;

// Where a function is constant, its gradient is 0 whatever arrives; at a NaN that is passed on.
TEST(Unary, GradientsOfConstantPartsAreZero) {
  const auto halves = [](const Tensor& x) { return clamp(x, -1, 2); };
  const auto flat = [](const Tensor& x) { return leaky_relu(x, 0); };
  for (DType dtype : {f32, f64}) {
    const Tensor x = tensor<double>({-3, 0, 4, NAN}).to(dtype);
    for (double dy : {kInfinity, -kInfinity, double{NAN}, 2.0}) {
      const Tensor upstream = scalar(dy, f64);
      expect_values(gradient(relu, x, upstream), {0, 0, dy, dy}, "relu");
      expect_values(gradient(flat, x, upstream), {0, 0, dy, dy}, "leaky_relu of slope 0");
      expect_values(gradient(abs, x, upstream), {-dy, 0, dy, dy}, "abs");
      expect_values(gradient(halves, x, upstream), {0, dy, 0, dy}, "clamp");
    }
    expect_values(
        gradient([](const Tensor& in) { return sqrt(relu(in)); }, tensor<double>({-1, 0, 4}).to(dtype), scalar(1)),
        {0, 0, 0.25});
  }
  // A gradient that is added to one that is there; and rows that vectors do not divide.
  const Tensor x = view::expand(tensor<double>({-1, 1}), {33, 2}).contiguous();
  const Tensor dx = gradient([](const Tensor& in) { return add(in, relu(in)); }, x, scalar(kInfinity));
  EXPECT_EQ(dx.to_vector<double>(), std::vector<double>(66, kInfinity));
  EXPECT_EQ(flat(full({1}, -kInfinity)).item(), 0);
}

// Values and gradients where the limits are all that is left.
TEST(Unary, FarOutAreTheLimits) {
  struct Case {
    const char* name;
    Tensor (*f)(const Tensor&);
    std::function<double(double)> value, slope;
  };
  const auto zero = [](double) { return 0.0; };
  const auto step = [](double x) { return x > 0 ? 1.0 : 0.0; };
  const auto sign = [](double x) { return x > 0 ? 1.0 : -1.0; };
  const auto ramp = [](double x) { return x > 0 ? x : 0.0; };
  const auto rate = [](double x) { return x > 0 ? kInfinity : 0.0; };
  const auto of_positive = [](double (*f)(double)) { return [f](double x) { return x > 0 ? f(x) : double{NAN}; }; };
  const std::vector<Case> cases = {
      {"neg", neg, [](double x) { return -x; }, [](double) { return -1.0; }},
      {"exp", exp, rate, rate},
      {"abs", abs, [](double x) { return std::abs(x); }, sign},
      {"tanh", tanh, sign, zero},
      {"sigmoid", sigmoid, step, zero},
      {"relu", relu, ramp, step},
      {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.5); }, [](double x) { return x > 0 ? x : x / 2; },
       [](double x) { return x > 0 ? 1.0 : 0.5; }},
      {"gelu", gelu, ramp, step},
      {"gelu_tanh", gelu_tanh, ramp, step},
      {"silu", silu, ramp, step},
      {"log", log, of_positive([](double x) { return std::log(x); }), [](double x) { return 1 / x; }},
      {"sqrt", sqrt, of_positive([](double x) { return std::sqrt(x); }),
       of_positive([](double x) { return 0.5 / std::sqrt(x); })},
      {"rsqrt", rsqrt, of_positive([](double x) { return 1 / std::sqrt(x); }),
       of_positive([](double x) { return -0.5 / x / std::sqrt(x); })},
      {"clamp", [](const Tensor& x) { return clamp(x, -1, 1); }, sign, zero},
      {"square", square, [](double x) { return x * x; }, [](double x) { return 2 * x; }},
  };
  for (const auto& [name, f, value, slope] : cases)
    for (DType dtype : {f32, f64})
      for (double size : {1e4, 1e10, 1.8e19, 1e20, 1e38, 1e200, kInfinity})
        for (double x : {size, -size}) {
          if (dtype == f32 && size == 1e200) continue;
          const Tensor at = full({5}, x, dtype);
          // What the dtype makes of the limits, to its last digits.
          const auto as = [&](double v) { return dtype == f32 ? static_cast<double>(static_cast<float>(v)) : v; };
          const double got = f(there(at)).to_vector<double>()[3], want = as(value(as(x)));
          const double got_slope = gradient(f, at, scalar(1)).to_vector<double>()[3], want_slope = as(slope(as(x)));
          const auto near = [&](double a, double b) {
            return a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= 1e-6 * std::abs(b) + 1e-44;
          };
          EXPECT_TRUE(near(got, want)) << name << " of " << x << " in " << name_of(dtype) << ": " << got;
          EXPECT_TRUE(std::isnan(want) || near(got_slope, want_slope))
              << name << "' of " << x << " in " << name_of(dtype) << ": " << got_slope;
        }
}

// ONNX's Clip, numpy and PyTorch: minimum(maximum(x, low), high).
TEST(Unary, ClampBetweenCrossedBoundsIsTheHighOne) {
  const auto crossed = [](const Tensor& x) { return clamp(x, 2, 1); };
  const Tensor x = tensor<double>({0, 1.5, 3, NAN});
  expect_values(crossed(there(x)), {1, 1, 1, NAN});
  expect_values(gradient(crossed, x, scalar(5)), {0, 0, 0, 5});
  expect_error([] { clamp(zeros({2}), NAN, 1); }, "[clamp] parameters nan and 1: want numbers");
  expect_error([] { clamp(zeros({2}), 0, NAN); }, "[clamp] parameters 0 and nan: want numbers");
}

TEST(Unary, ReluKeepsNaN) { EXPECT_TRUE(std::isnan(relu(full({1}, NAN)).item())); }

TEST(Unary, RejectsBadInput) {
  expect_error([] { exp(zeros({2}, i64)); }, "[exp] wants floating tensors, not i64: shape [2]");
}

}  // namespace
}  // namespace norma
