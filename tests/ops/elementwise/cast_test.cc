// to(): values, gradients in the dtype they came from, and what stops them.
#include "norma/ops/elementwise/cast.h"

#include "norma/ops/elementwise/unary.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Cast, ConvertsValues) {
  const Tensor x = tensor({-1.5, 0., 2.75}, {3});
  EXPECT_EQ(to(x, f32).to_vector<float>(), (std::vector<float>{-1.5f, 0.f, 2.75f}));
  EXPECT_EQ(to(x, i64).to_vector<int64_t>(), (std::vector<int64_t>{-1, 0, 2}));  // towards zero
  EXPECT_EQ(to(x, boolean).to_vector<bool>(), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(to(tensor<uint8_t>({0, 255}), f32).to_vector<float>(), (std::vector<float>{0.f, 255.f}));
}

TEST(Cast, GradientsComeBackInTheOldDtype) {
  Tensor x = random({3, 5});
  x.set_requires_grad();
  Tape tape;
  const Tensor y = square(to(x, f32));
  tape.backward(y, {.seed = there(ones({3, 5}))});
  EXPECT_EQ(x.grad().dtype(), f64);
  for (size_t i = 0; i < 15; ++i) EXPECT_FLOAT_EQ(x.grad().to_vector<float>()[i], 2 * x.to_vector<float>()[i]);
  EXPECT_TRUE(gradcheck([](const auto& in) { return to(to(in[0], f64), cpu_device); }, {random({3, 5})}));
}

TEST(Cast, IsAValueOfItsOwnWhereNothingChanges) {
  Tensor x = random({3});
  x.set_requires_grad();
  Tape tape;
  for (const Tensor& y : {to(x, f64), to(x, x.device())}) {
    EXPECT_NE(y.identity(), x.identity());
    EXPECT_EQ(y.storage(), x.storage());
    EXPECT_FALSE(y.is_leaf());
  }
}

TEST(Cast, IntegersStopTheGradient) {
  Tensor x = random({3});
  x.set_requires_grad();
  const Tape tape;
  EXPECT_FALSE(to(to(x, i64), f64).requires_grad());
  EXPECT_TRUE(tape.entries().empty());
}

}  // namespace
}  // namespace norma
