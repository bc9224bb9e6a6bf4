// Sums of float on CUDA, which is not where they are taken in double for each element: of what cancels, of what is
// beyond float on the way or in its square, of what is so small that its square is nothing. Beside the CPU's, in
// double.
#include "tests/cuda/parity.h"

namespace norma::test {
namespace {

const double kInfinity = std::numeric_limits<double>::infinity();

// What is left when numbers of `size` cancel: the sum of the other half. Every order of sums meets the large ones.
Tensor cancelling(int64_t outer, int64_t n, int64_t inner, double size) {
  const Tensor large = (random({outer, n, inner}, 7) * size).to(f32), small = random({outer, n, inner}, 8).to(f32);
  return concat({large, small, neg(large)}, 1);
}

// Where f of float on the CPU and on CUDA differ by more than `tolerance`, relatively, element by element; what is
// infinite or NaN has to be the same. `least`: what smaller ones may differ by, too.
void expect_digits(const std::string& name, const Function& f, const Inputs& inputs, double tolerance = 1e-6,
                   double least = 0) {
  const Inputs want = sweep(f, inputs, f32, cpu_device, false), got = sweep(f, inputs, f32, kCuda, false);
  ASSERT_EQ(got.size(), want.size()) << name;
  for (size_t k = 0; k < got.size(); ++k) {
    const std::vector<double> a = got[k].to(cpu_device).to(f64).to_vector<double>(),
                              b = want[k].to(f64).to_vector<double>();
    ASSERT_EQ(a.size(), b.size()) << name;
    for (size_t i = 0; i < a.size(); ++i) {
      const bool same = std::isfinite(b[i]) ? std::abs(a[i] - b[i]) <= std::max(tolerance * std::abs(b[i]), least)
                                            : a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
      ASSERT_TRUE(same) << name << ", result " << k << ", element " << i << ": " << a[i] << ", want " << b[i];
    }
  }
}

Function sum_over(int axis) {
  return [=](const Inputs& in) { return sum(in[0], {axis}); };
}
Tensor row(std::vector<double> values) { return tensor(values, {1, std::ssize(values)}); }

TEST_F(Parity, SumsKeepWhatDoesNotCancel) {
  for (const Shape& shape : {Shape{1, 5, 1}, Shape{3, 21, 1}, Shape{2, 700, 1}, Shape{1, 30000, 1}, Shape{2, 40, 33},
                             Shape{1, 900, 40}, Shape{600, 25, 60}}) {
    const Tensor x = cancelling(shape[0], shape[1], shape[2], 1e6);
    const double least = 1e-7 * std::sqrt(static_cast<double>(shape[1]));
    expect_digits("sum " + shape.str(), sum_over(1), {x}, 1e-5, least);
    expect_digits(
        "mean " + shape.str(), [](const Inputs& in) { return mean(in[0], {1}); }, {x}, 1e-5, least);
    expect_digits(
        "softmax " + shape.str(), [](const Inputs& in) { return softmax(in[0] * 1e-6, 1); }, {x}, 1e-5, 1e-9);
    if (shape.numel() < 10000)
      expect_digits(
          "cumsum " + shape.str(), [](const Inputs& in) { return cumsum(in[0], 1); }, {x}, 1e-5, 1e-4);
  }
  const Tensor windows = view::reshape(cancelling(2, 12, 12, 1e6), {2, 36, 12, 1});
  for (const int64_t k : {2, 3, 12})
    expect_digits(
        "avg_pool2d", [=](const Inputs& in) { return avg_pool2d(in[0], {.kernel = k}); }, {windows}, 1e-6, 1e-7);
}

TEST_F(Parity, MeansOfEqualNumbersAreThatNumber) {
  for (const float value : {0.1f, 3e38f, -1e-38f})
    for (const int64_t k : {2, 3, 5}) {
      const Tensor y = avg_pool2d(full({1, 15, 15, 3}, value, f32, kCuda),
                                  {.kernel = k, .padding = k / 2, .count_include_pad = false});
      for (const float got : y.to(cpu_device).to_vector<float>()) EXPECT_EQ(got, value);
      EXPECT_EQ(mean(full({k, 1000}, value, f32, kCuda)).item(), value);
    }
}

TEST_F(Parity, ResamplingKeepsItsDigits) {  // as with weights in double
  for (const Interpolation mode : {Interpolation::bilinear, Interpolation::area})
    for (const Pair size : {Pair(7, 9), Pair(3, 2), Pair(64, 3)})
      for (const double shift : {0.0, 1e6}) {
        const Tensor x = (random({2, 5, 5, 3}) + shift).to(f32);
        const auto resize = [&](const Inputs& in) { return interpolate(in[0], size, {.mode = mode}); };
        expect_digits("interpolate", resize, {x}, 1.2e-7, 2e-7);
        for (const float value : {0.1f, 3e38f})
          for (const float got : resize({full({1, 5, 5, 3}, value, f32, kCuda)}).to(cpu_device).to_vector<float>())
            EXPECT_EQ(got, value);
      }
}

TEST_F(Parity, LongSumsInOneThreadKeepTheirDigits) {  // whose roundings all have one sign
  expect_digits(
      "cumsum", [](const Inputs& in) { return cumsum(in[0], 1); }, {full({1, 100'000, 2}, 0.1, f32)}, 1.2e-7);
  expect_digits(
      "cumsum", [](const Inputs& in) { return cumsum(in[0], 1); }, {full({1, 100'000}, 0.1, f32)}, 1.2e-7);
  for (const int64_t side : {16, 17, 300})
    expect_digits(
        "avg_pool2d", [=](const Inputs& in) { return avg_pool2d(in[0], {.kernel = side}); },
        {full({1, side, side, 2}, 0.1, f32)}, 1e-9);
}

TEST_F(Parity, SumsComeBackFromBeyondFloat) {
  const double huge = 3e38;
  for (const int64_t n : {1, 40, 3000}) {
    std::vector<double> there_and_back(3 * n, huge);
    std::fill(there_and_back.begin() + 2 * n, there_and_back.end(), -huge);
    std::vector<double> back = there_and_back;
    back.insert(back.end(), n - 1, -huge);  // one of them is left
    back.push_back(2.5);
    expect_digits("sum", sum_over(1), {row(back)});
    expect_digits("mean", [](const Inputs& in) { return mean(in[0], {1}); }, {row(there_and_back)});
    expect_digits(
        "cumsum", [](const Inputs& in) { return cumsum(in[0], 1); }, {row(back)}, 2e-6, 1e31);
  }
  std::vector<double> far(10, huge);
  far[7] = -huge;
  for (const bool root : {false, true})
    for (const Tensor& x : {row(far), row({huge, huge, -huge}), row({1e19, 3e19, -2e19, 1e19})})
      expect_digits(
          "deviations", [=](const Inputs& in) { return root ? stddev(in[0], {1}) : var(in[0], {1}); }, {x}, 1e-6);
  for (const double left : {1e-22, 1e-30}) {
    const Tensor column = view::reshape(row({huge, huge, -huge, -huge, left, left}), {1, 6, 1});
    expect_digits("cumsum", [](const Inputs& in) { return cumsum(in[0], 1); }, {concat({column, column}, 2)});
    expect_digits("avg_pool2d",
                  [](const Inputs& in) {
                    return avg_pool2d(in[0], {.kernel = {6, 1}});
                  },
                  {view::reshape(column, {1, 6, 1, 1})});
  }
  for (const double odd : {kInfinity, -kInfinity, double{NAN}})
    for (const size_t place : {0, 3, 99}) {
      std::vector<double> values(100, huge);
      values[place] = odd;
      expect_digits("sum", sum_over(1), {row(values)});
      expect_digits("cumsum", [](const Inputs& in) { return cumsum(in[0], 1); }, {row(values)});
      for (auto f : {max, min})
        expect_digits("extremes", [=](const Inputs& in) { return f(in[0], {1}, false); }, {row(values)});
    }
}

TEST_F(Parity, RunningSumsComeBackInOneThread) {
  Tensor x = full({1, 9, 2}, 3e38, f32);  // columns side by side are a thread's each
  for (int64_t k = 3; k < 9; ++k)
    for (int64_t c = 0; c < 2; ++c) x.mutable_data<float>()[2 * k + c] = k == 8 ? 1e33f : -2e38f;
  for (const bool reverse : {false, true})
    expect_digits("cumsum",
                  [=](const Inputs& in) { return reverse ? flip(cumsum(flip(in[0], {1}), 1), {1}) : cumsum(in[0], 1); },
                  {x});
}

TEST_F(Parity, ResamplingComesBackFromBeyondFloat) {
  const double huge = std::numeric_limits<float>::max();
  for (const int64_t n : {10, 18, 20, 300}) {
    const auto to_one = [](const Inputs& in) { return interpolate(in[0], Pair(1, 1), {.mode = Interpolation::area}); };
    expect_digits("area", to_one, {full({1, n, 1, 1}, huge, f32)}, 1.2e-7);
    expect_digits("area", to_one, {full({1, n, 1, 1}, 1e-44, f32)});
  }
  const auto dx = [&](Device device) {
    Tensor x = zeros({1, 1, 1, 1}, f32, device).set_requires_grad();
    Tape tape;
    const Tensor y = interpolate(x, Pair(3, 1)), dy = tensor<float>({3e38f, 3e38f, -3e38f}, {1, 3, 1, 1});
    tape.backward(y, {.seed = dy.to(device)});
    return x.grad().item();
  };
  EXPECT_EQ(dx(kCuda), dx(cpu_device));
}

TEST_F(Parity, TinyProductsAddUp) {  // though each is nothing in float
  const Tensor labels = zeros({1}, i64);
  for (const auto& [w, p] : {std::pair(1e-20, 1e-26), {1e-30, 1e-16}, {1e-38, 1e-8}, {1e-4, 1e-3}}) {
    const Tensor weight = full({10}, w, f32);
    const auto smoothed = [=](const Inputs& in) {
      return nll(in[0], in[1], {.label_smoothing = 0.5, .weight = weight.to(in[0].device())});
    };
    expect_digits("nll", smoothed, {full({1, 10}, -p, f32), labels}, 1e-6);
  }
  Tensor x = full({1, 1001}, 2e-23, f32);
  for (int64_t i = 0; i < 1001; i += 2) x.mutable_data<float>()[i] *= -1;
  expect_digits(
      "var", [](const Inputs& in) { return var(in[0], {1}, 1000); }, {x}, 1e-6, 3e-45);
}

TEST_F(Parity, WeightedLossesKeepTheirDigits) {
  for (const int64_t classes : {3, 10, 5000}) {
    const Tensor labels = integers({5}, classes), weight = abs(random({classes}, 3)).to(f32);
    for (const double size : {1e-10, 1.0, 1e4, 1e30})
      for (const Reduction reduction : {Reduction::mean, Reduction::none})
        expect_digits(
            "cross_entropy",
            [=](const Inputs& in) {
              return cross_entropy(
                  in[0], in[1],
                  {.label_smoothing = 0.3, .weight = weight.to(in[0].device()) * size, .reduction = reduction});
            },
            {random({5, classes}) * 10. + (size == 1 ? 3e4 : 0.), labels}, 1e-5,
            1e-9 * (reduction == Reduction::none ? size : 1));
  }
}

TEST_F(Parity, LongArraysAreTakenFourAtATime) {
  for (const int64_t n : {16384, 16385, 40000, 65541}) {
    const Tensor x = random({n}), y = random({n}, 2);
    expect_parity("relu", [](const Inputs& in) { return relu(in[0]); }, {x});
    expect_parity("mul", [](const Inputs& in) { return in[0] * in[1] + 2.0 * in[1]; }, {x, y});
    expect_parity("where", [](const Inputs& in) { return where(gt(in[0], in[1]), in[0], in[1]); }, {x, y});
    EXPECT_EQ(gt(x.to(kCuda), y.to(kCuda)).to_vector<uint8_t>(), gt(x, y).to_vector<uint8_t>());
    EXPECT_EQ(x.to(kCuda).to(f32).to_vector<float>(), x.to(f32).to_vector<float>());
    Tensor sum = x.to(f32).to(kCuda).clone();  // in place
    backend(kCuda).add_into(sum, y.to(f32).to(kCuda));
    EXPECT_TRUE(same_bits(sum.to(cpu_device), x.to(f32) + y.to(f32)));
  }
}

}  // namespace
}  // namespace norma::test
