// x += y and the like: values, what shares the memory, and what they refuse.
#include "norma/ops/elementwise/in_place.h"

#include "norma/ops/shape/views.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(InPlace, IsTheFunctionWrittenOverItsOperand) {
  for (DType dtype : {f32, f64}) {
    const Tensor a = random({3, 5}, 1).to(dtype), b = random({5}, 2).to(dtype);
    const std::vector<std::pair<Tensor, Tensor>> results = {
        {a.clone() += b, a + b}, {a.clone() -= b, a - b},   {a.clone() *= b, a * b}, {a.clone() /= b, a / b},
        {a.clone() += 2, a + 2}, {a.clone() -= .5, a - .5}, {a.clone() *= 3, a * 3}, {a.clone() /= 4.f, a / 4}};
    for (const auto& [got, want] : results) EXPECT_TRUE(same_bits(got, want));
  }
  const Tensor x = there(ones({2}));
  const void* memory = x.storage()->data();
  EXPECT_EQ(&((x += x) *= 3), &x);
  EXPECT_EQ(x.storage()->data(), memory);
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{6, 6}));
  const Tensor none = there(zeros({0, 3}));
  none += 1;
  EXPECT_EQ(none.shape(), (Shape{0, 3}));
}

TEST(InPlace, WritesThroughViews) {
  const Tensor x = there(view::reshape(arange(6, f64), {2, 3}));
  x[0] += 10;
  view::permute(x, {1, 0}) *= there(tensor({1., 2.}));
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{10, 11, 12, 6, 8, 10}));
  x += x[1];  // of the memory that is written
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{16, 19, 22, 12, 16, 20}));
  x -= view::slice(x, 1, 0, 1);
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{0, 3, 6, 0, 4, 8}));
}

TEST(InPlace, IsAStepOfAnOptimizer) {
  Tensor w = there(tensor({3., -1.}));
  w.set_requires_grad();
  for (int step = 0; step < 2; ++step) {
    w.set_grad({});
    Tape tape;
    tape.backward(sum(w * w));
    const NoGrad guard;
    w -= 0.25 * w.grad();
  }
  EXPECT_EQ(w.to_vector<double>(), (std::vector<double>{.75, -.25}));
  EXPECT_TRUE(w.requires_grad() && w.is_leaf());
}

TEST(InPlace, RefusesWhatATapeFollows) {
  Tensor w = there(ones({2}, f64));
  w.set_requires_grad();
  const Tensor x = there(ones({2}, f64)), saved = there(ones({2}, f64));
  {
    Tape tape;
    const Tensor y = w * saved;
    const std::string want = "[overwrite] a tape follows this";
    expect_error([&] { w += 1; }, want);
    expect_error([&] { y += x; }, want);
    expect_error([&] { x += w; }, want);  // x would be a constant
    expect_error([&] { x += y; }, want);
    expect_error([&] { w[0] += 1; }, want);
    expect_error([&] { saved += x; },
                 "[copy_from] in-place write into a tensor that PackedWeights or a pending tape entry has saved");
    x += 1;
    const NoGrad guard;
    expect_error([&] { saved += x; }, "has saved");
    EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{2, 2}));
  }
  w += x;
  saved += x;
  EXPECT_EQ(w.to_vector<double>(), (std::vector<double>{3, 3}));
}

TEST(InPlace, RefusesWhatDoesNotFit) {
  const Tensor x = there(ones({3})), wide = there(ones({2, 3}));
  expect_error([&] { x += wide; }, "[overwrite] [2, 3] (f32) does not go into [3] (f32)");
  expect_error([&] { wide += there(ones({2})); }, "[add] shapes [2, 3] and [2] do not broadcast");
  expect_error([&] { x += there(ones({3}, f64)); }, "[add] dtypes differ");
  expect_error([&] { view::expand(x, {2, 3}) += 1; }, "[copy_from] in-place write into a view of shape [2, 3]");
  expect_error([&] { x += Tensor(); }, "an undefined tensor was used");
  expect_error([&] { Tensor() += x; }, "an undefined tensor was used");
  expect_error([&] { overwrite(x, Tensor()); }, "[overwrite] an undefined tensor was used");
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{1, 1, 1}));
}

}  // namespace
}  // namespace norma
