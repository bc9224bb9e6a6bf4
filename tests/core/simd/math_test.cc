// The elementary functions that vectorise, in f32: against those of the standard library in f64, over all of the range.
// NORMA_SIMD chooses what the ops are compiled for.
#include "norma/core/simd/math.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

// One argument of each 4099 bit patterns, and the special ones.
Tensor arguments() {
  std::vector<float> values = {0, -0.F, 1, -1, 88.7228317F, 88.7228394F, -87.3365479F, -103.972F, -103.973F, 9, -9};
  for (float x : {1e-45F, 1.17549421e-38F, 1.17549435e-38F, 3.40282347e38F, INFINITY, NAN}) {
    values.push_back(x);
    values.push_back(-x);
  }
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 4099)
    values.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  return tensor(values, {static_cast<int64_t>(values.size())});
}

// |y - f(x)| in units of the last place of f(x) rounded to f32, at most `most`; infinities and NaN where it has them,
// and the sign of zeros.
void expect_within(double most, const char* name, const Tensor& x, const Tensor& y, double (*f)(double)) {
  double worst = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const float argument = x.data<float>()[i], got = y.data<float>()[i];
    const double want = f(argument);
    const float rounded = static_cast<float>(want);
    if (std::isnan(rounded) || std::isinf(rounded) || rounded == 0) {
      const bool same =
          std::isnan(rounded) ? std::isnan(got) : got == rounded && std::signbit(got) == std::signbit(rounded);
      ASSERT_TRUE(same) << fmt::format("{}({}) is {}, not {}", name, argument, got, rounded);
      continue;
    }
    const float away = std::abs(rounded), place = std::min(std::nextafter(away, INFINITY), 3.4e38F) - away;
    const double error = std::abs(got - want) / (place > 0 ? place : 2.03e31);
    ASSERT_LE(error, most) << fmt::format("{}({}) is {}, not {}", name, argument, got, want);
    worst = std::max(worst, error);
  }
  EXPECT_GT(worst, 0.45) << name << " is rounded better than floats can be: nothing was compared";
}

TEST(Elementary, IsWithinTwoUnitsInTheLastPlace) {
  const Tensor x = arguments();
  expect_within(2, "exp", x, exp(x), std::exp);
  expect_within(2, "expm1", x, expm1(x), std::expm1);
  expect_within(2, "log", x, log(x), std::log);
  expect_within(2, "log1p", x, log1p(x), std::log1p);
  expect_within(2, "tanh", x, tanh(x), std::tanh);
  Tensor y = empty_like(x);
  for (int64_t i = 0; i < x.numel(); ++i) y.mutable_data<float>()[i] = elementary::erf(x.data<float>()[i]);
  expect_within(2, "erf", x, y, std::erf);
}

TEST(Elementary, ThoseMadeOfThemKeepMostDigits) {
  const Tensor x = random({20011}).to(f32) * 3.0, exact = x.to(f64);
  EXPECT_TRUE(close(sigmoid(x), sigmoid(exact).to(f32), 2.5e-7));
  EXPECT_TRUE(close(silu(x), silu(exact).to(f32), 2.5e-7));
  EXPECT_TRUE(close(gelu(x), gelu(exact).to(f32), 2.5e-7));
  EXPECT_TRUE(close(mish(x), mish(exact).to(f32), 2.5e-7));
  EXPECT_TRUE(close(gelu_tanh(x), gelu_tanh(exact).to(f32), 2.5e-7));
  for (double special : {0., 200., -200.}) {
    const Tensor one = full({1}, special, f32);
    EXPECT_EQ(sigmoid(one).item(), special == 0 ? 0.5 : special > 0 ? 1 : 0);
    EXPECT_EQ(tanh(one).item(), special == 0 ? 0 : special > 0 ? 1 : -1);
    EXPECT_EQ(gelu(one).item(), std::max(special, 0.));
  }
}

}  // namespace
}  // namespace norma
