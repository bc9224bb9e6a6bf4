// Elementwise functions of two tensors and comparisons: against PyTorch, against finite differences, broadcasting,
// ties.
#include "norma/ops/elementwise/binary.h"

#include <map>

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

using Function = Tensor (*)(const Tensor&, const Tensor&);
const std::map<std::string, Function> kFunctions = {
    {"add", add}, {"sub", sub}, {"mul", mul}, {"div", div}, {"pow", pow}, {"minimum", minimum}, {"maximum", maximum}};

TEST(Binary, AgreesWithPyTorch) {
  for_each_case("binary", "", [](const GoldenCase& c) {
    const Tensor a = c.leaf("a"), b = c.leaf("b");
    check_case(c, [&] { return kFunctions.at(c.op)(a, b); }, {{"a", a}, {"b", b}});
  });
}

TEST(Binary, GradientsMatchFiniteDifferences) {
  const std::vector<std::pair<Shape, Shape>> shapes = {{{}, {}},         {{7}, {7}},          {{3, 5, 2}, {3, 5, 2}},
                                                       {{33, 17}, {17}}, {{33, 17}, {33, 1}}, {{3, 1, 5}, {2, 1}},
                                                       {{5}, {2, 3, 1}}, {{1, 1}, {1}},       {{2, 3}, {}}};
  for (const auto& [name, f] : kFunctions) {
    for (const auto& [sa, sb] : shapes) {
      Tensor a = random(sa, 1), b = random(sb, 2);
      if (name == "pow" || name == "div") Generator(3).fill_uniform(name == "pow" ? a : b, 0.3, 3);
      const auto result = gradcheck([f = f](const auto& in) { return f(in[0], in[1]); }, {a, b});
      EXPECT_TRUE(result) << name << " " << sa.str() << " " << sb.str() << " " << result.message;
    }
    // One value on both sides, and one side that wants no gradient.
    Tensor x = random({3, 5}), constant = random({5}, 4);
    if (name == "pow" || name == "div") Generator(3).fill_uniform(x, 0.3, 3);
    Generator(4).fill_uniform(constant, 0.3, 3);
    if (name != "minimum" && name != "maximum") {
      const auto both = gradcheck([f = f](const auto& in) { return f(in[0], in[0]); }, {x});
      EXPECT_TRUE(both) << name << " x, x " << both.message;
    }
    const auto left = gradcheck([&, f = f](const auto& in) { return f(in[0], constant); }, {x});
    EXPECT_TRUE(left) << name << " x, constant " << left.message;
    const auto right = gradcheck([&, f = f](const auto& in) { return f(constant, in[0]); }, {x});
    EXPECT_TRUE(right) << name << " constant, x " << right.message;
  }
}

TEST(Binary, LossTermsMatchFiniteDifferences) {
  for (Binary f : {Binary::mse, Binary::bce_with_logits}) {
    const auto result = gradcheck([&](const auto& in) { return elementwise("loss", f, in[0], in[1]); },
                                  {random({33, 17}, 1), random({33, 17}, 2)});
    EXPECT_TRUE(result) << static_cast<int>(f) << " " << result.message;
  }  // the others: tests/ops/reduce/loss_test.cc
}

TEST(Binary, NumbersStandForTensors) {
  const Tensor x = tensor({1.0, 2.0, 4.0});
  const auto equal = [](const Tensor& y, std::vector<double> want) { EXPECT_EQ(y.to_vector<double>(), want); };
  equal(x + 1, {2, 3, 5});
  equal(1 + x, {2, 3, 5});
  equal(x - 1, {0, 1, 3});
  equal(1 - x, {0, -1, -3});
  equal(x * 3, {3, 6, 12});
  equal(3 * x, {3, 6, 12});
  equal(x / 2, {0.5, 1, 2});
  equal(8 / x, {8, 4, 2});
  equal(-x, {-1, -2, -4});
  equal(pow(x, 2), {1, 4, 16});
  equal(pow(2, x), {2, 4, 16});
  equal(minimum(x, 2), {1, 2, 2});
  equal(maximum(2, x), {2, 2, 4});
  equal(x + x * x, {2, 6, 20});
  EXPECT_EQ((x.to(f32) * 0.1).dtype(), f32);
  const auto result = gradcheck([](const auto& in) { return 3 / in[0] - 2 * (1 - in[0]) / 5 + pow(in[0], 3); }, {x});
  EXPECT_TRUE(result) << result.message;
}

TEST(Binary, KeepsOnlyWhatItsGradientsNeed) {
  Tensor x = random({5});
  const Tensor mask = random({5}, 2);
  x.set_requires_grad();
  Tape tape;
  const Tensor y = x * 2 + mask, z = x * mask, q = x / mask;
  EXPECT_FALSE(x.storage()->pinned());
  EXPECT_TRUE(mask.storage()->pinned());
}

TEST(Binary, TiesShareTheGradient) {
  for (Function f : {Function(minimum), Function(maximum)}) {
    Tensor a = tensor({1.0, 2.0, 3.0}), b = tensor({1.0, 3.0, 2.0});
    a.set_requires_grad();
    b.set_requires_grad();
    Tape tape;
    tape.backward(f(a, b), {.seed = tensor({4.0, 4.0, 4.0})});
    const bool low = f == Function(minimum);
    EXPECT_EQ(a.grad().to_vector<double>(), (std::vector<double>{2, low ? 4.0 : 0.0, low ? 0.0 : 4.0}));
    EXPECT_EQ(b.grad().to_vector<double>(), (std::vector<double>{2, low ? 0.0 : 4.0, low ? 4.0 : 0.0}));
  }
}

// What does not depend on an operand has no gradient there, whatever arrives.
TEST(Binary, GradientsOfConstantPartsAreZero) {
  const auto of_left = [](Function f, std::initializer_list<double> a, std::initializer_list<double> b, double dy) {
    const Tensor right = there(tensor(b, b.size()));
    return gradient([&](const Tensor& in) { return f(in, right); }, tensor(a, a.size()), scalar(dy));
  };
  const auto of_right = [](Function f, std::initializer_list<double> a, std::initializer_list<double> b, double dy) {
    const Tensor left = there(tensor(a, a.size()));
    return gradient([&](const Tensor& in) { return f(left, in); }, tensor(b, b.size()), scalar(dy));
  };
  for (double dy : {double{INFINITY}, -double{INFINITY}, double{NAN}, 3.0}) {
    expect_values(of_left(minimum, {1, 2, 3, NAN}, {1, 3, 2, 0}, dy), {dy / 2, dy, 0, dy});
    expect_values(of_right(minimum, {1, 2, 3, 0}, {1, 3, 2, NAN}, dy), {dy / 2, 0, dy, dy});
    expect_values(of_left(maximum, {1, 2, 3, NAN}, {1, 3, 2, 0}, dy), {dy / 2, 0, dy, dy});
    expect_values(of_right(maximum, {1, 2, 3, 0}, {1, 3, 2, NAN}, dy), {dy / 2, dy, 0, dy});
    expect_values(of_left(pow, {3, 0, -2}, {0, 0, 0}, dy), {0, 0, 0});
    expect_values(of_right(pow, {0, 0, INFINITY}, {0, 2, -1}, dy), {0, 0, 0});
  }
  const Tensor x = tensor<double>({-1, 0, 4});
  expect_values(gradient([](const Tensor& in) { return sqrt(maximum(in, 0)); }, x, scalar(1)), {0, INFINITY, 0.25});
  expect_values(gradient([](const Tensor& in) { return sqrt(pow(in, 0) - 1); }, x, scalar(1)), {0, 0, 0});
}

TEST(Binary, MinimumAndMaximumKeepNaN) {
  for (Function f : {Function(minimum), Function(maximum)}) {
    EXPECT_TRUE(std::isnan(f(scalar(NAN), scalar(1)).item()));
    EXPECT_TRUE(std::isnan(f(scalar(1), scalar(NAN)).item()));
  }
}

TEST(Binary, PowOfZeroHasFiniteGradients) {
  Tensor a = tensor({0.0, 0.0, 0.0, -2.0}), b = tensor({0.0, 1.0, 2.0, 3.0});
  a.set_requires_grad();
  b.set_requires_grad();
  Tape tape;
  tape.backward(pow(a, b), {.seed = ones({4}, f64)});
  EXPECT_EQ(a.grad().to_vector<double>(), (std::vector<double>{0, 1, 0, 12}));
  const std::vector<double> of_b = b.grad().to_vector<double>();
  EXPECT_EQ(std::vector<double>(of_b.begin(), of_b.begin() + 3), (std::vector<double>{0, 0, 0}));
  EXPECT_TRUE(std::isnan(of_b[3]));  // of a negative base there is none
}

TEST(Binary, ReadsStridedInputs) {
  const Tensor a = view::permute(random({4, 6}), {1, 0}), b = view::slice(random({6, 9}, 2), 1, 1, 9, 2);
  EXPECT_TRUE(same_bits(mul(a, b), mul(a.contiguous(), b.contiguous())));
  EXPECT_TRUE(same_bits(lt(a, b), lt(a.contiguous(), b.contiguous())));
  // A strided upstream gradient.
  Tensor x = random({6, 4}, 3), y = random({6, 4}, 4);
  for (const Tensor& dy : {a, view::expand(random({6, 1}, 5), {6, 4}), view::expand(there(scalar(3, f64)), {6, 4})}) {
    std::vector<Tensor> gradients;
    for (const Tensor& seed : {dy, dy.contiguous()}) {
      Tensor p = x.clone(), q = y.clone();
      p.set_requires_grad();
      q.set_requires_grad();
      Tape tape;
      tape.backward(div(p, q), {.seed = seed});
      gradients.push_back(p.grad());
      gradients.push_back(q.grad());
    }
    EXPECT_TRUE(same_bits(gradients[0], gradients[2]));
    EXPECT_TRUE(same_bits(gradients[1], gradients[3]));
  }
}

TEST(Binary, TakesNoElements) {
  Tensor a = zeros({0, 3}), b = ones({1, 3});
  a.set_requires_grad();
  b.set_requires_grad();
  Tape tape;
  tape.backward(mul(a, b), {.seed = a});
  EXPECT_EQ(a.grad().shape(), (Shape{0, 3}));
  EXPECT_TRUE(same_bits(b.grad(), zeros({1, 3})));
}

TEST(Binary, Compares) {
  using Truth = std::vector<bool>;
  for (DType dtype : {f32, f64, i64, u8}) {
    const Tensor a = tensor({1.0, 2.0, 3.0}).to(dtype), b = tensor({2.0}).to(dtype);
    for (const auto& [y, want] : std::vector<std::pair<Tensor, Truth>>{{eq(a, b), {0, 1, 0}},
                                                                       {ne(a, b), {1, 0, 1}},
                                                                       {lt(a, b), {1, 0, 0}},
                                                                       {le(a, b), {1, 1, 0}},
                                                                       {gt(a, b), {0, 0, 1}},
                                                                       {ge(a, b), {0, 1, 1}},
                                                                       {eq(a, 2), {0, 1, 0}},
                                                                       {lt(a, 2.5), {1, 1, 0}},
                                                                       {ge(a, -1), {1, 1, 1}}}) {
      EXPECT_EQ(y.dtype(), boolean);
      EXPECT_EQ(y.to_vector<bool>(), want) << name_of(dtype);
    }
  }
  EXPECT_TRUE(eq(full({1}, 0.1), 0.1).item());  // a number is rounded as the tensor was
  EXPECT_FALSE(eq(scalar(NAN), scalar(NAN)).item());
  EXPECT_TRUE(eq(full({2}, 1, boolean), full({}, 1, boolean)).at({1}));
}

TEST(Binary, SumToUndoesBroadcasting) {
  const Tensor x = random({2, 3, 5});
  const auto v = x.to_vector<double>();
  const Tensor y = sum_to(x, {3, 1});
  ASSERT_EQ(y.shape(), (Shape{3, 1}));
  for (size_t i = 0; i < 3; ++i) {
    double want = 0;
    for (size_t k = 0; k < 10; ++k) want += v[k / 5 * 15 + i * 5 + k % 5];
    EXPECT_NEAR(y.at({static_cast<int64_t>(i), 0}), want, 1e-14);
  }
  EXPECT_EQ(sum_to(x, x.shape()).identity(), x.identity());
  EXPECT_EQ(sum_to(random({1, 3}), {3}).shape(), Shape{3});
  EXPECT_EQ(sum_to(x, {}).rank(), 0);
}

TEST(Binary, RejectsBadInput) {
  expect_error([] { add(zeros({2, 3}), zeros({2})); }, "[add] shapes [2, 3] and [2] do not broadcast: 3 against 2");
  expect_error([] { mul(zeros({2}), zeros({2}, f64)); }, "[mul] dtypes differ: f32 of shape [2] and f64 of shape [2]");
  expect_error([] { pow(zeros({2}, i64), 2); }, "[pow] wants floating tensors, not i64: shape [2]");
  expect_error(
      [] {
        eq(zeros({2}, i64), zeros({2, 3}, f64));
      },
      "[eq] dtypes differ: i64 of shape [2] and f64 of shape [2, 3]");
  expect_error([] { lt(zeros({4}), zeros({3})); }, "[lt] shapes [4] and [3] do not broadcast");
  expect_error([] { sum_to(zeros({4}), {3}); }, "[sum_to] [3] does not broadcast to [4]");
}

}  // namespace
}  // namespace norma
