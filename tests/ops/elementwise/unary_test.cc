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

TEST(Unary, ReluKeepsNaN) { EXPECT_TRUE(std::isnan(relu(full({1}, NAN)).item())); }

TEST(Unary, RejectsBadInput) {
  expect_error([] { exp(zeros({2}, i64)); }, "[exp] wants floating tensors, not i64: shape [2]");
  expect_error([] { clamp(zeros({2}), 1, 0); }, "[clamp] low 1 is above high 0");
}

}  // namespace
}  // namespace norma
