// Dropout: its statistics, its bits, that the gradient meets the same mask, and errors.
#include "norma/ops/elementwise/dropout.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Dropout, DropsWithProbabilityPAndScalesTheRest) {
  for (double p : {0.1, 0.5, 0.9}) {
    Generator generator(3);
    const int64_t n = 100003;
    const std::vector<double> y = dropout(ones({n}, f64), p, generator).to_vector<double>();
    int64_t dropped = 0, both = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_TRUE(y[i] == 0 || y[i] == 1 / (1 - p)) << y[i];
      dropped += y[i] == 0;
      both += i > 0 && y[i] == 0 && y[i - 1] == 0;
    }
    const double deviation = std::sqrt(static_cast<double>(n) * p * (1 - p));
    EXPECT_NEAR(static_cast<double>(dropped), p * static_cast<double>(n), 4 * deviation);
    EXPECT_NEAR(static_cast<double>(both), p * p * static_cast<double>(n), 6 * deviation);  // neighbours: independent
  }
}

TEST(Dropout, ElementITakesWordIOfTheStream) {
  Generator generator(11, 5);
  generator.uniform();
  Generator::State from = generator.state();
  from.position = 0xFFFFFFF5;  // the counter's upper word changes on the way
  generator.set_state(from);
  const std::vector<double> y = dropout(ones({41, 13}), 0.25, generator).to_vector<double>();
  EXPECT_EQ(generator.state().position, from.position + 134);
  for (size_t i = 0; i < y.size(); ++i) {
    const uint32_t word = philox(from.seed, from.stream, from.position + i / 4)[i % 4];
    EXPECT_EQ(y[i] != 0, word >= uint32_t{1} << 30) << i;
  }
}

TEST(Dropout, TheGradientMeetsTheSameMask) {
  for (DType dtype : {f32, f64}) {
    Generator generator(4);
    Tensor x = full({33, 17}, 3, dtype);
    x.set_requires_grad();
    Tape tape;
    const Tensor y = dropout(x, 0.3, generator);
    dropout(x, 0.3, generator);  // moves the generator on
    tape.backward(y, {.seed = full(x.shape(), 3, dtype)});
    EXPECT_TRUE(same_bits(x.grad(), y));
  }
}

TEST(Dropout, GradientsMatchFiniteDifferences) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{3, 5, 2}, Shape{33, 17}}) {
    const auto result = gradcheck(
        [](const auto& in) {
          Generator generator(9);
          return dropout(in[0], 0.4, generator);
        },
        {random(shape)});
    EXPECT_TRUE(result) << shape.str() << " " << result.message;
  }
}

TEST(Dropout, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  std::vector<Tensor> results;
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    Generator generator(6);
    results.push_back(dropout(random({257, 129}).to(f32), 0.5, generator));
  }
  set_num_threads(before);
  EXPECT_TRUE(same_bits(results[0], results[1]));
}

TEST(Dropout, ReadsStridedInputs) {
  const Tensor x = view::permute(random({4, 6}), {1, 0});
  Generator a(1), b(1);
  EXPECT_TRUE(same_bits(dropout(x, 0.5, a), dropout(x.contiguous(), 0.5, b)));
}

// What is dropped is 0, whatever it was, and so is its gradient.
TEST(Dropout, SetsInfinitiesAndNaNsToZero) {
  for (DType dtype : {f32, f64})
    for (double value : {double{INFINITY}, -double{INFINITY}, double{NAN}}) {
      const auto half = [](const Tensor& x) {
        Generator generator(5);
        return dropout(x, 0.5, generator);
      };
      const std::vector<double> mask = half(there(ones({133}, dtype))).to_vector<double>();
      std::vector<double> want;
      for (double factor : mask) want.push_back(factor == 0 ? 0 : value);
      expect_values(half(there(full({133}, value, dtype))), want, "y");
      expect_values(gradient(half, ones({133}, dtype), scalar(value)), want, "dx");
    }
}

TEST(Dropout, PZeroIsTheIdentity) {
  const Tensor one = ones({3});
  expect_values(gradient([](const Tensor& in) { return dropout(in, 0); }, one, scalar(7)), {7, 7, 7});
  Generator generator(1);
  const Tensor x = random({5});
  EXPECT_TRUE(same_bits(dropout(x, 0, generator), x));
  EXPECT_EQ(generator.state().position, 0U);
  EXPECT_EQ(dropout(zeros({0, 3}), 0.5, generator).shape(), (Shape{0, 3}));
}

TEST(Dropout, RejectsBadInput) {
  for (double p : {-0.1, 1.0, static_cast<double>(NAN)})
    expect_error([&] { dropout(zeros({2, 3}), p); }, "is not in [0, 1): input [2, 3]");
  expect_error([] { dropout(zeros({2}, i64), 0.5); }, "[dropout] wants floating tensors, not i64: shape [2]");
}

}  // namespace
}  // namespace norma
