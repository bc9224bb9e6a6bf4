// softmax and log_softmax: against PyTorch, against finite differences, large inputs, errors.
#include "norma/ops/reduce/softmax.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Softmax, AgreesWithPyTorch) {
  for_each_case("softmax", "", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    const int64_t axis = c.attrs.at("axis");
    check_case(c, [&] { return c.op == "softmax" ? softmax(x, axis) : log_softmax(x, axis); }, {{"x", x}});
  });
}

TEST(Softmax, GradientsMatchFiniteDifferences) {
  for (const auto& [shape, axis] : std::vector<std::pair<Shape, int64_t>>{
           {{1}, 0}, {{7}, -1}, {{33, 17}, 1}, {{33, 17}, 0}, {{2, 3, 5}, 1}, {{2, 3, 5}, 0}}) {
    for (const auto f : {softmax, log_softmax}) {
      const auto result = gradcheck([&, a = axis](const auto& in) { return f(in[0], a); }, {random(shape)});
      EXPECT_TRUE(result) << shape.str() << " " << axis << " " << result.message;
    }
  }
}

TEST(Softmax, TakesNoRows) {
  Tensor x = zeros({0, 3}, f64);
  x.set_requires_grad();
  Tape tape;
  tape.backward(softmax(x), {.seed = x});
  EXPECT_EQ(x.grad().shape(), (Shape{0, 3}));
  EXPECT_EQ(log_softmax(zeros({3, 0})).shape(), (Shape{3, 0}));
}

TEST(Softmax, StandsLargeInputs) {
  const Tensor x = tensor<double>({1000, 1000, -INFINITY, -1000}).to(f32);
  const Tensor y = softmax(x);
  EXPECT_EQ(y.at({0}), 0.5);
  EXPECT_EQ(y.at({1}), 0.5);
  EXPECT_EQ(y.at({2}), 0);
  EXPECT_EQ(y.at({3}), 0);
  EXPECT_EQ(log_softmax(x).at({3}), -2000 - std::log(2.0f));
}

// Rows longer than vectors, and of any rest, in f32 against f64.
TEST(Softmax, KeepsDigitsInLongRows) {
  for (int64_t n : {15, 16, 64, 67, 1000, 4099}) {
    for (const auto f : {softmax, log_softmax}) {
      const Tensor start = (random({3, n}) * 5.0).to(f32), dy = random({3, n}, 3).to(f32);
      const auto run = [&](DType dtype) {
        Tensor x = start.to(dtype).clone();
        x.set_requires_grad();
        Tape tape;
        const Tensor y = f(x, -1);
        tape.backward(y, {.seed = dy.to(dtype)});
        return std::pair{y, x.grad()};
      };
      const auto [y, dx] = run(f32);
      const auto [want, want_dx] = run(f64);
      EXPECT_TRUE(close(y, want.to(f32), 5e-7)) << n;
      EXPECT_TRUE(close(dx, want_dx.to(f32), 5e-7)) << n;
    }
  }
}

TEST(Softmax, ReadsStridedInputs) {
  const Tensor x = view::slice(view::permute(random({4, 6, 5}), {2, 0, 1}), 1, 0, 4, 2);
  for (int axis : {0, 1, 2}) EXPECT_TRUE(same_bits(softmax(x, axis), softmax(x.contiguous(), axis)));
  EXPECT_TRUE(softmax(x, 0).is_contiguous());
}

TEST(Softmax, RejectsBadInput) {
  expect_error([] { softmax(zeros({2, 3}), 2); }, "[softmax] axis 2 is out of range for shape [2, 3]");
  expect_error([] { log_softmax(zeros({}), -1); }, "[log_softmax] axis -1 is out of range for shape []");
  expect_error([] { softmax(zeros({2}, i64)); }, "[softmax] wants floating tensors, not i64: shape [2]");
}

}  // namespace
}  // namespace norma
