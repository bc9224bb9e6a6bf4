// Batch normalization: against PyTorch, against finite differences, its numerics far from zero, and errors.
#include "norma/ops/norm.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(BatchNorm, AgreesWithPyTorch) {
  for_each_case("norm", "batch_norm", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), gamma = c.leaf("gamma"), beta = c.leaf("beta");
    const double eps = c.attrs["eps"], momentum = c.attrs["momentum"];
    BatchNormStats stats;
    const auto f = [&] {
      const auto [y, batch] = batch_norm(x, gamma, beta, eps);
      stats = batch;
      return y;
    };
    check_case(c, f, {{"x", x}, {"gamma", gamma}, {"beta", beta}}, c.dtype == f32 ? 1e-5 : 0);
    const auto mean = stats.mean.to_vector<double>(), var = stats.var.to_vector<double>();
    Tensor new_mean = c["running_mean"].to(f64).clone(), new_var = c["running_var"].to(f64).clone();
    const double count = static_cast<double>(x.numel()) / static_cast<double>(mean.size());
    for (size_t i = 0; i < mean.size(); ++i) {
      double &m = new_mean.mutable_data<double>()[i], &v = new_var.mutable_data<double>()[i];
      m += momentum * (mean[i] - m);
      v += momentum * (var[i] * count / (count - 1) - v);
    }
    EXPECT_TRUE(close(new_mean, c["new_running_mean"], c.dtype == f32 ? 1e-6 : 1e-12));
    EXPECT_TRUE(close(new_var, c["new_running_var"], c.dtype == f32 ? 1e-6 : 1e-12));
  });
}

TEST(BatchNorm, AgreesWithPyTorchInEvaluation) {
  for_each_case("norm", "batch_norm_eval", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), gamma = c.leaf("gamma"), beta = c.leaf("beta");
    check_case(c, [&] { return batch_norm_given(x, gamma, beta, c["running_mean"], c["running_var"], c.attrs["eps"]); },
               {{"x", x}, {"gamma", gamma}, {"beta", beta}});
  });
}

TEST(BatchNorm, GradientsMatchFiniteDifferences) {
  for (const Shape& shape :
       {Shape{2, 1}, Shape{5, 3}, Shape{7, 17}, Shape{1, 2, 33}, Shape{2, 3, 5, 2}, Shape{301, 1}}) {
    const Shape channels{shape.back()};
    const Tensor x = random(shape), gamma = random(channels, 2), beta = random(channels, 3);
    const Tensor mean = random(channels, 4), var = rand(channels, default_generator(), f64);
    const auto batch = [](const auto& in) { return batch_norm(in[0], in[1], in[2], 1e-3).first; };
    const auto given = [&](const auto& in) { return batch_norm_given(in[0], in[1], in[2], mean, var, 1e-3); };
    const GradcheckOptions options{.relative = 1e-5, .absolute = 1e-7};
    EXPECT_TRUE(gradcheck(batch, {x, gamma, beta}, options)) << gradcheck(batch, {x, gamma, beta}, options).message;
    EXPECT_TRUE(gradcheck(given, {x, gamma, beta})) << gradcheck(given, {x, gamma, beta}).message;
    // One at a time, with the others constants, and without gamma and beta.
    const auto x_only = [](const auto& in) { return batch_norm(in[0], {}, {}).first; };
    EXPECT_TRUE(gradcheck(x_only, {x}, options));
    EXPECT_TRUE(gradcheck([&](const auto& in) { return batch_norm(x, in[0], {}).first; }, {gamma}));
    EXPECT_TRUE(gradcheck([&](const auto& in) { return batch_norm(x, {}, in[0]).first; }, {beta}));
    EXPECT_TRUE(gradcheck([&](const auto& in) { return batch_norm_given(in[0], {}, {}, mean, var); }, {x}));
    EXPECT_TRUE(gradcheck([&](const auto& in) { return batch_norm_given(x, in[0], beta, mean, var); }, {gamma}));
    EXPECT_TRUE(gradcheck([&](const auto& in) { return batch_norm_given(x, gamma, in[0], mean, var); }, {beta}));
  }
}

// The statistics of the same numbers by two plain passes in double.
void plain_stats(const Tensor& x, std::vector<double>& mean, std::vector<double>& var) {
  const std::vector<double> values = x.to_vector<double>();
  const size_t channels = static_cast<size_t>(x.dim(-1)), rows = values.size() / channels;
  mean.assign(channels, 0);
  var.assign(channels, 0);
  for (size_t i = 0; i < values.size(); ++i) mean[i % channels] += values[i] / static_cast<double>(rows);
  for (size_t i = 0; i < values.size(); ++i)
    var[i % channels] += std::pow(values[i] - mean[i % channels], 2) / static_cast<double>(rows);
}

TEST(BatchNorm, KeepsItsDigitsFarFromZero) {
  for (const Shape& shape : {Shape{64, 14, 14, 32}, Shape{4097, 3}, Shape{5, 700}, Shape{2, 1}}) {
    SCOPED_TRACE(shape.str());
    Tensor x(shape, f32);
    Generator(1).fill_normal(x, 1e4, 1e-2);
    const Tensor wide = x.to(f64);
    const auto [y, stats] = batch_norm(x, {}, {}, 1e-12);
    std::vector<double> mean, var;
    plain_stats(wide, mean, var);
    const auto got_mean = stats.mean.to_vector<double>(), got_var = stats.var.to_vector<double>();
    const auto in = wide.to_vector<double>(), out = y.to_vector<double>();
    for (size_t c = 0; c < mean.size(); ++c) {
      EXPECT_NEAR(got_mean[c], mean[c], 1e-7) << c;
      EXPECT_NEAR(got_var[c], var[c], 1e-5 * var[c]) << c;
    }
    double worst = 0;
    for (size_t i = 0; i < in.size(); ++i) {
      const size_t c = i % mean.size();
      worst = std::max(worst, std::abs(out[i] - (in[i] - mean[c]) / std::sqrt(var[c] + 1e-12)));
    }
    EXPECT_LT(worst, 1e-4);
  }
}

TEST(BatchNorm, AnOutlierInFrontCostsNoDigits) {
  Tensor x(Shape{3000, 2}, f32);
  Generator(1).fill_normal(x, 1e4, 1);
  x.mutable_data<float>()[0] = 0;
  std::vector<double> mean, var;
  plain_stats(x.to(f64), mean, var);
  const BatchNormStats stats = batch_norm(x, {}, {}).second;
  for (size_t c = 0; c < 2; ++c) EXPECT_NEAR(stats.var.to_vector<double>()[c], var[c], 1e-5 * var[c]);
}

TEST(BatchNorm, GradientFarFromZeroAgreesWithDouble) {
  Tensor x(Shape{16, 14, 14, 8}, f32), gamma = full({8}, 2);
  Generator(1).fill_normal(x, 1e4, 1e-1);
  Tensor wide = x.to(f64).clone(), wide_gamma = gamma.to(f64);
  for (Tensor* leaf : {&x, &gamma, &wide, &wide_gamma}) leaf->set_requires_grad();
  const Tensor dy = random(x.shape());
  Tape tape;
  tape.backward(batch_norm(x, gamma, {}).first, {.seed = dy.to(f32)});
  tape.backward(batch_norm(wide, wide_gamma, {}).first, {.seed = dy});
  EXPECT_TRUE(close(x.grad(), wide.grad(), 1e-5));
  EXPECT_TRUE(close(gamma.grad(), wide_gamma.grad(), 1e-5));
}

TEST(BatchNorm, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  std::vector<Tensor> first;
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    Tensor x = random({32, 33, 17, 5}).to(f32), gamma = random({5}).to(f32), beta = random({5}).to(f32);
    for (Tensor* leaf : {&x, &gamma, &beta}) leaf->set_requires_grad();
    Tape tape;
    const auto [y, stats] = batch_norm(x, gamma, beta);
    tape.backward(y, {.seed = random(x.shape(), 3).to(f32)});
    const std::vector<Tensor> all = {y.detach(), stats.mean, stats.var, x.grad(), gamma.grad(), beta.grad()};
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(same_bits(all[i], first[i])) << i;
  }
  set_num_threads(before);
}

TEST(BatchNorm, ReadsStridedInputs) {
  const Tensor x = view::permute(random({2, 3, 4, 6}), {0, 2, 3, 1});
  const Tensor gamma = view::slice(random({6}), 0, 0, 6, 2), mean = view::expand(random({1}), {3});
  EXPECT_TRUE(same_bits(batch_norm(x, gamma, {}).first, batch_norm(x.contiguous(), gamma.contiguous(), {}).first));
  EXPECT_TRUE(same_bits(batch_norm_given(x, gamma, {}, mean, gamma.to(f32)),
                        batch_norm_given(x.contiguous(), gamma, {}, mean.contiguous(), gamma.to(f32))));
}

TEST(BatchNorm, GivenTakesAnyNumberOfValues) {
  const Tensor mean = zeros({3}), var = ones({3});
  EXPECT_EQ(batch_norm_given(zeros({0, 2, 2, 3}), {}, {}, mean, var).shape(), (Shape{0, 2, 2, 3}));
  Tensor x = zeros({0, 3}), gamma = ones({3});
  x.set_requires_grad();
  gamma.set_requires_grad();
  Tape tape;
  tape.backward(batch_norm_given(x, gamma, {}, mean, var), {.seed = zeros({0, 3})});
  EXPECT_EQ(gamma.grad().to_vector<double>(), std::vector<double>(3, 0));
  EXPECT_NEAR(batch_norm_given(full({1, 3}, 2), gamma, {}, mean, var).at({0, 1}), 2, 1e-4);
}

TEST(BatchNorm, RejectsBadInput) {
  const Tensor x = zeros({1, 1, 1, 5});
  expect_error([&] { batch_norm(x, {}, {}); },
               "[batch_norm] 1 values a channel have no variance to normalize by: input [1, 1, 1, 5]");
  expect_error([&] { batch_norm(zeros({0, 5}), {}, {}); }, "[batch_norm] 0 values a channel");
  expect_error([&] { batch_norm(zeros({5}), {}, {}); }, "[batch_norm] wants [N, ..., C]: shape [5]");
  expect_error(
      [&] {
        batch_norm(zeros({2, 5}), ones({4}), {});
      },
      "[batch_norm] gamma or beta is [4]: wants [5], input [2, 5]");
  expect_error([&] { batch_norm(zeros({2, 5}), {}, ones({5}, f64)); }, "[batch_norm] dtypes differ");
  expect_error([&] { batch_norm(zeros({2, 5}), {}, {}, 0); }, "[batch_norm] eps 0: wants more than 0: input [2, 5]");
  expect_error([&] { batch_norm_given(x, {}, {}, zeros({4}), ones({5})); },
               "[batch_norm_given] mean or var is [4] (f32): wants [5], input [1, 1, 1, 5]");
}

}  // namespace
}  // namespace norma
