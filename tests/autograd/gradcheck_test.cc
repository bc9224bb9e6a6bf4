// gradcheck passes right gradients and fails wrong ones, each kind of mistake for its reason. The ops are a user's:
// defined here, outside of the library.
#include "norma/autograd/gradcheck.h"

#include "norma/autograd/op.h"
#include "norma/core/backend.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

enum class Mistake { none, factor, sign, offset, assigns, uninitialised, ignores_strides, needs_both };

// y = a * b, elementwise, with one mistake in its gradient.
Tensor product(Mistake mistake, const Tensor& a, const Tensor& b) {
  const Op op("product");
  op.check_same({a, b});
  const auto times = [](const Tensor& x, const Tensor& y, double factor, double offset = 0) {
    const Tensor z = x.clone(), w = y.contiguous();
    for (int64_t i = 0; i < z.numel(); ++i)
      z.mutable_data<double>()[i] = factor * z.data<double>()[i] * w.data<double>()[i] + offset;
    return z;
  };
  return op.record({a, b}, times(a, b, 1), [=, a = op.save(a), b = op.save(b)](const Tensor& dy, Sink& dx) {
    double factor = mistake == Mistake::factor ? 1.001 : mistake == Mistake::sign ? -1 : 1;
    if (mistake == Mistake::needs_both && !dx.wants(1)) factor = 0;
    Tensor d = dy;
    if (mistake == Mistake::ignores_strides)
      d = Tensor(dy.storage(), dy.shape(), contiguous_strides(dy.shape()), dy.offset(), f64);
    if (dx.wants(0)) {
      const auto [grad, add] = dx.into(0);
      const Tensor part = times(d, b, factor, mistake == Mistake::offset ? 1e-4 : 0);
      if (add && mistake != Mistake::assigns) backend(cpu_device).add_into(grad, part);
      else if (mistake == Mistake::uninitialised)
        view::slice(grad, 0, 1, grad.dim(0)).copy_from(view::slice(part, 0, 1, grad.dim(0)));
      else grad.copy_from(part);
    }
    dx.give(1, times(dy, a, 1));
  });
}

GradcheckResult check_product(Mistake mistake, const Shape& shape, GradcheckOptions options = {}) {
  return gradcheck([=](const auto& in) { return product(mistake, in[0], in[1]); }, {random(shape, 1), random(shape, 2)},
                   options);
}

void expect_failure(const GradcheckResult& result, const std::string& part) {
  EXPECT_FALSE(result);
  EXPECT_NE(result.message.find(part), std::string::npos) << "the message is: " << result.message;
}

TEST(Gradcheck, PassesRightGradients) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{3, 5}, Shape{0, 3}, Shape{33, 17}}) {
    const GradcheckResult result = check_product(Mistake::none, shape);
    EXPECT_TRUE(result) << shape.str() << " " << result.message;
    EXPECT_LT(result.worst, 0.5);
    EXPECT_TRUE(result.message.empty());
  }
}

TEST(Gradcheck, FailsWrongGradients) {
  for (const Shape& shape : {Shape{3, 5}, Shape{33, 17}}) {  // by elements, and along directions
    expect_failure(check_product(Mistake::factor, shape), "gradcheck: input 0 of shape " + shape.str() + " at ");
    expect_failure(check_product(Mistake::sign, shape), "analytic gradient ");
    expect_failure(check_product(Mistake::offset, shape), ", numeric ");
    expect_failure(check_product(Mistake::assigns, shape), "the sweep must add ");
    expect_failure(check_product(Mistake::uninitialised, shape), "nan");
    expect_failure(check_product(Mistake::ignores_strides, shape), "it left nan");
    expect_failure(check_product(Mistake::needs_both, shape), " where all inputs require one, ");
    EXPECT_GT(check_product(Mistake::factor, shape).worst, 100);
  }
}

TEST(Gradcheck, SaysWhereAndBothValues) {
  // d(x^2)/dx = 2x, but at [1, 2] of x it claims 3x.
  const auto f = [](const std::vector<Tensor>& in) {
    const Op op("odd_square");
    const Tensor y = in[0].clone();
    for (double& value : std::span(y.mutable_data<double>(), 6)) value *= value;
    return op.record({in[0]}, y, [x = op.save(in[0])](const Tensor& dy, Sink& dx) {
      const Tensor grad = dy.clone();
      for (int64_t i = 0; i < 6; ++i) grad.mutable_data<double>()[i] *= (i == 5 ? 3 : 2) * x.data<double>()[i];
      dx.give(0, grad);
    });
  };
  const Tensor x = tensor({1., 2., 3., 4., 5., 6.}, {2, 3});
  const GradcheckResult result = gradcheck(f, {x});
  expect_failure(result, "gradcheck: input 0 of shape [2, 3] at [1, 2]: analytic gradient ");
  double analytic = 0, numeric = 0;
  const size_t from = result.message.find("analytic");
  ASSERT_EQ(std::sscanf(result.message.c_str() + from, "analytic gradient %lf, numeric %lf", &analytic, &numeric), 2);
  EXPECT_NEAR(analytic / numeric, 1.5, 1e-6);
  EXPECT_EQ(x.at({1, 2}), 6);  // the caller's tensor is not touched
  EXPECT_FALSE(x.requires_grad());
}

// Under a plain sum the gradient of softmax is zero, five times as much of it too.
Tensor softmax_scaled(const Tensor& x, double scale) {
  const Op op("softmax");
  const Tensor y = x.clone();
  const int64_t n = y.dim(1);
  for (int64_t row = 0; row < y.dim(0); ++row) {
    double* p = y.mutable_data<double>() + row * n;
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += p[i] = std::exp(p[i]);
    for (int64_t i = 0; i < n; ++i) p[i] /= sum;
  }
  return op.record({x}, y, [=, y = op.save(y)](const Tensor& dy, Sink& dx) {
    const Tensor grad = dy.clone();
    for (int64_t row = 0; row < grad.dim(0); ++row) {
      double* g = grad.mutable_data<double>() + row * n;
      const double* p = y.data<double>() + row * n;
      double dot = 0;
      for (int64_t i = 0; i < n; ++i) dot += g[i] * p[i];
      for (int64_t i = 0; i < n; ++i) g[i] = scale * p[i] * (g[i] - dot);
    }
    dx.give(0, grad);
  });
}

TEST(Gradcheck, SeesASoftmaxThatIsFiveTimesTooLarge) {
  const auto f = [](double scale) {
    return gradcheck([=](const auto& in) { return softmax_scaled(in[0], scale); }, {random({3, 5})});
  };
  EXPECT_TRUE(f(1));
  expect_failure(f(5), "analytic gradient");
}

TEST(Gradcheck, FailsWhatIsNotAFunction) {
  double drift = 0;
  const auto f = [&](const std::vector<Tensor>& in) {
    drift += 1e-9;
    return product(Mistake::none, in[0], full(in[0].shape(), 1 + drift, f64));
  };
  expect_failure(gradcheck(f, {random({3})}), "gradcheck: f gives other bits when it is called again");
}

TEST(Gradcheck, FailsWhatForgetsToRecord) {
  const auto f = [](const std::vector<Tensor>& in) { return product(Mistake::none, in[0].detach(), in[1].detach()); };
  expect_failure(gradcheck(f, {random({3}), random({3})}), "analytic gradient 0, numeric ");
}

TEST(Gradcheck, AllowsAPartOfTheLargerGradient) {  // here the numeric one: the other is 0
  const auto f = [](const std::vector<Tensor>& in) { return product(Mistake::none, in[0].detach(), in[1].detach()); };
  const GradcheckResult result = gradcheck(f, {random({3}), random({3})}, {.relative = 2, .absolute = 0});
  EXPECT_TRUE(result) << result.message;
  EXPECT_EQ(result.worst, 0.5);
}

TEST(Gradcheck, KeepsAwayFromKinks) {
  const auto absolute = [](const std::vector<Tensor>& in) {
    const Op op("abs");
    const Tensor y = in[0].clone();
    for (double& value : std::span(y.mutable_data<double>(), static_cast<size_t>(y.numel()))) value = std::abs(value);
    return op.record({in[0]}, y, [x = op.save(in[0])](const Tensor& dy, Sink& dx) {
      const Tensor grad = dy.clone();
      for (int64_t i = 0; i < grad.numel(); ++i)
        if (x.data<double>()[i] < 0) grad.mutable_data<double>()[i] *= -1;
      dx.give(0, grad);
    });
  };
  const Tensor x = tensor({-1., 0., 1e-7, -1e-7, 2.});
  expect_failure(gradcheck(absolute, {x}), "at [1]");
  const GradcheckResult moved = gradcheck(absolute, {x}, {.kinks = {0}});
  EXPECT_TRUE(moved) << moved.message;

  // By the margin, and to the side where they are.
  std::vector<double> seen;
  const auto look = [&](const std::vector<Tensor>& in) {
    if (seen.empty()) seen = in[0].to_vector<double>();
    return product(Mistake::none, in[0], in[0]);
  };
  EXPECT_TRUE(gradcheck(look, {tensor({0.75, 1.0, 1.01, 0.99, 1.25})}, {.kinks = {1}, .margin = 0.125}));
  EXPECT_EQ(seen, (std::vector<double>{0.75, 1.125, 1.125, 0.875, 1.25}));
}

TEST(Gradcheck, PassesOtherInputsOn) {
  const auto f = [](const std::vector<Tensor>& in) {
    EXPECT_EQ(in[1].dtype(), i64);
    EXPECT_FALSE(in[1].requires_grad());
    return product(Mistake::none, in[0], in[1].to(f64));
  };
  EXPECT_TRUE(gradcheck(f, {random({3}), arange(3)}));
}

TEST(Gradcheck, LeavesTheMemoryUnpoisoned) {
  EXPECT_TRUE(check_product(Mistake::none, {2}));
  EXPECT_FALSE(cpu_memory().set_poison(false));
}

TEST(Gradcheck, RejectsF32) {
  const auto f = [](const std::vector<Tensor>& in) { return in[0].clone(); };
  expect_error([&] { gradcheck(f, {zeros({2, 3})}); }, "[gradcheck] wants f64 inputs, not f32: shape [2, 3]");
  const auto narrow = [](const std::vector<Tensor>& in) { return in[0].to(f32); };
  expect_error([&] { gradcheck(narrow, {random({2})}); }, "[gradcheck] f returns [2] (f32), want f64");
}

}  // namespace
}  // namespace norma
