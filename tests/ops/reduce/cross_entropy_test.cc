// cross_entropy and nll: against PyTorch, against finite differences and its composed form, ignored rows, errors.
#include "norma/ops/reduce/cross_entropy.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

CrossEntropyOptions options_of(const GoldenCase& c) {
  const auto ignored = c.attrs.value("ignore_index", int64_t{-100});
  return {c.attrs.value("label_smoothing", 0.0), ignored, c.has("weight") ? c["weight"] : Tensor(), reduction_of(c)};
}

TEST(CrossEntropy, AgreesWithPyTorch) {
  for_each_case("loss", "cross_entropy", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return cross_entropy(x, c["labels"], options_of(c)); }, {{"x", x}});
  });
  for_each_case("loss", "cross_entropy_of_shares", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), target = c.leaf("target");
    check_case(c, [&] { return cross_entropy(x, target, options_of(c)); }, {{"x", x}, {"target", target}});
  });
  for_each_case("loss", "nll", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return nll(x, c["labels"], options_of(c)); }, {{"x", x}});
  });
}

TEST(CrossEntropy, GradientsMatchFiniteDifferences) {
  for (const Shape& shape : {Shape{1, 1}, Shape{1, 7}, Shape{3, 5}, Shape{33, 17}, Shape{2, 3, 2, 5}, Shape{4}}) {
    Tensor labels = there(argmax(random(shape, 3), -1)), weight({shape.back()}, f64);
    Generator(5).fill_uniform(weight, 0.3, 2);
    for (double smoothing : {0.0, 0.3, 1.0}) {
      for (bool ignore : {false, true}) {
        if (ignore && (shape[0] == 1 || shape.rank() == 1)) continue;
        if (ignore) view::slice(labels, 0, 0, 1).fill(-1);
        for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
          for (const Tensor& weights : {Tensor(), there(weight)})
            for (bool likelihood : {false, true}) {
              if (shape.numel() > 100 && (likelihood || reduction != Reduction::mean)) continue;  // to be quick
              const CrossEntropyOptions options{smoothing, -1, weights, reduction};
              const auto result = gradcheck(
                  [&](const auto& in) {
                    return likelihood ? nll(in[0], labels, options) : cross_entropy(in[0], labels, options);
                  },
                  {random(shape)});
              EXPECT_TRUE(result) << shape.str() << " " << smoothing << " " << result.message;
            }
      }
    }
  }
}

TEST(CrossEntropy, GradientsOfSharesMatchFiniteDifferences) {
  const Tensor target = softmax(random({2, 3, 5}, 9)), weight = square(random({5}, 4));
  for (double smoothing : {0.0, 0.3, 1.0})
    for (const Tensor& weights : {Tensor(), weight})
      for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
        const CrossEntropyOptions options{smoothing, -100, weights, reduction};
        const auto result = gradcheck([&](const auto& in) { return cross_entropy(in[0], in[1], options); },
                                      {random({2, 3, 5}), target});
        EXPECT_TRUE(result) << smoothing << " " << result.message;
        EXPECT_TRUE(close(nll(log_softmax(random({2, 3, 5})), target, options),
                          cross_entropy(random({2, 3, 5}), target, options)));
      }
}

// The kernels of labels against what is composed of other ops, which takes the same target as shares.
TEST(CrossEntropy, LabelsAreSharesOfOneClass) {
  for (DType dtype : {f32, f64})
    for (int64_t classes : {1, 3, 40}) {
      const Tensor x = (random({7, 2, classes}) * 3).to(dtype), labels = there(argmax(random({7, 2, classes}, 3), -1));
      const Tensor weight = square(random({classes}, 4)).to(dtype), target = one_hot(labels, classes, dtype);
      for (double smoothing : {0.0, 0.3, 1.0})
        for (const Tensor& weights : {Tensor(), weight})
          for (Reduction reduction : {Reduction::sum, Reduction::none})
            for (auto f : {cross_entropy, nll}) {
              const CrossEntropyOptions options{smoothing, -100, weights, reduction};
              const Tensor got = f(x, labels, options), want = f(x, target, options);
              EXPECT_TRUE(close(got, want)) << smoothing;
              const Tensor dy = random(got.shape(), 8);
              EXPECT_TRUE(close(gradient([&](const Tensor& in) { return f(in, labels, options); }, x, dy),
                                gradient([&](const Tensor& in) { return f(in, target, options); }, x, dy)));
            }
    }
}

TEST(CrossEntropy, IsTheComposedFormWithMoreDigits) {
  const Tensor x = mul(random({33, 10}), 30.0), labels = argmax(random({33, 10}, 3), 1);
  const Tensor picked = gather(log_softmax(x), 1, view::reshape(labels, {33, 1}));
  EXPECT_TRUE(close(cross_entropy(x, labels), -mean(picked)));
  EXPECT_TRUE(close(cross_entropy(x.to(f32), labels), -mean(picked).to(f32), 2e-7));
  EXPECT_NEAR(cross_entropy(tensor<double>({1000, -1000}, {1, 2}).to(f32), tensor<int64_t>({1})).item(), 2000, 0);
  // A class that is ruled out costs nothing where the label is another, and all where a share of the target is its.
  const Tensor ruled_out = there(tensor<double>({0, -INFINITY, 0}, {1, 3})), second = there(tensor<int64_t>({1}));
  for (double smoothing : {0.1, 1.0})
    EXPECT_EQ(cross_entropy(ruled_out, second, {.label_smoothing = smoothing}).item(), INFINITY) << smoothing;
  EXPECT_NEAR(cross_entropy(tensor<double>({0, -INFINITY, 0}, {1, 3}), tensor<int64_t>({0})).item(), std::log(2),
              1e-15);
}

// Whatever stands in a row that is ignored, the loss and the gradient are those without it.
TEST(CrossEntropy, IgnoredRowsMayHoldAnything) {
  const double inf = INFINITY;
  for (DType dtype : {f32, f64})
    for (int64_t classes : {3, 40})
      for (double smoothing : {0.0, 0.2, 1.0})
        for (double content : {inf, -inf, double{NAN}, 1e38})
          for (int64_t ignored : {-100, 1}) {  // 1: a label that there is
            const Tensor plain = random({3, classes}).to(dtype), x = plain.clone();
            view::slice(x, 0, 1, 2).fill(content);
            view::slice(view::slice(x, 0, 1, 2), 1, 1, 2).fill(0);
            const Tensor labels = there(tensor<int64_t>({0, ignored, 2})), rest = there(tensor<int64_t>({0, 2}));
            const CrossEntropyOptions options{smoothing, ignored};
            const Tensor others = concat({view::slice(plain, 0, 0, 1), view::slice(plain, 0, 2, 3)}, 0);
            EXPECT_TRUE(close(cross_entropy(x, labels, options), cross_entropy(others, rest, options)));
            const Tensor dx =
                gradient([&](const Tensor& in) { return cross_entropy(in, labels, options); }, x, scalar(1));
            expect_values(view::slice(dx, 0, 1, 2), std::vector<double>(classes, 0));
            const Tensor want =
                gradient([&](const Tensor& in) { return cross_entropy(in, rest, options); }, others, scalar(1));
            EXPECT_TRUE(close(view::slice(dx, 0, 2, 3), view::slice(want, 0, 1, 2)));
            // Added to a gradient that is there, and under an infinite one.
            const auto twice = [&](const Tensor& in) { return add(in, cross_entropy(in, labels, options)); };
            expect_values(view::slice(gradient(twice, x, scalar(2)), 0, 1, 2), std::vector<double>(classes, 2));
            expect_values(view::slice(gradient([&](const Tensor& in) { return cross_entropy(in, labels, options); }, x,
                                               scalar(inf)),
                                      0, 1, 2),
                          std::vector<double>(classes, 0));
          }
}

// The same with weights and without a mean. A row whose label weighs nothing counts for nothing, too.
TEST(CrossEntropy, RowsThatDoNotCountMayHoldAnything) {
  const Tensor labels = there(tensor<int64_t>({0, -100, 1, 2})), weight = there(tensor<double>({2, 0.5, 0}));
  for (DType dtype : {f32, f64})
    for (auto f : {cross_entropy, nll})
      for (double content : {double{INFINITY}, -double{INFINITY}, double{NAN}})
        for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
          for (double upstream : {1.0, double{INFINITY}}) {
            const Tensor plain = log_softmax(random({4, 3})).to(dtype), x = plain.clone();
            for (int64_t row : {1, 3}) view::slice(x, 0, row, row + 1).fill(content);
            const CrossEntropyOptions options{0, -100, weight.to(dtype), reduction};
            const auto loss = [&](const Tensor& in) { return f(in, labels, options); };
            EXPECT_TRUE(same_bits(loss(x), loss(plain)));
            if (reduction == Reduction::none) expect_values(view::slice(loss(x), 0, 1, 4, 2), {0, 0});
            const Tensor dx = gradient(loss, x, scalar(upstream)), want = gradient(loss, plain, scalar(upstream));
            for (const Tensor& rows : {dx, want}) expect_values(view::slice(rows, 0, 1, 4, 2), {0, 0, 0, 0, 0, 0});
            EXPECT_TRUE(close(view::slice(dx, 0, 0, 3, 2), view::slice(want, 0, 0, 3, 2)));
            if (f == nll && std::isinf(upstream)) expect_values(view::slice(dx, 0, 0, 1), {-INFINITY, 0, 0});
          }
  const CrossEntropyOptions weightless{0.3, -100, there(zeros({3}, f64)), Reduction::none};
  expect_values(cross_entropy(there(full({4, 3}, NAN, f64)), labels, weightless), {0, 0, 0, 0});
  // Nor does a class that has no share of the target.
  const Tensor x = there(tensor<double>({0, -INFINITY, 1}, {1, 3})),
               shares = there(tensor<double>({0.5, 0, 0.5}, {1, 3}));
  EXPECT_NEAR(cross_entropy(x, shares).item(), std::log(1 + std::exp(1)) - 0.5, 1e-15);
  expect_values(gradient([&](const Tensor& in) { return nll(in, shares); }, x, scalar(1)), {-0.5, 0, -0.5});
  const Tensor third = there(tensor<int64_t>({2})), none = there(tensor<double>({1, 0, 1}));
  const double smooth = cross_entropy(x, third, {.label_smoothing = 0.3, .weight = none}).item();
  EXPECT_NEAR(smooth, (0.8 * std::log(1 + std::exp(-1)) + 0.1 * std::log(1 + std::exp(1))), 1e-15);
}

// What one block of CUDA's adds up, and more.
TEST(CrossEntropy, TakesManyRows) {
  const Tensor x = random({70001, 2}), labels = there(argmax(random({70001, 2}, 3), 1));
  const Tensor weight = there(tensor<double>({0.25, 3}));
  for (const Tensor& weights : {Tensor(), weight}) {
    const Tensor each = cross_entropy(x, labels, {.weight = weights, .reduction = Reduction::none});
    const double count = weights.defined() ? sum(index_select(weight, 0, labels)).item() : 70001;
    EXPECT_NEAR(cross_entropy(x, labels, {.weight = weights}).item(), sum(each).item() / count, 1e-12);
    EXPECT_NEAR(cross_entropy(x, labels, {.weight = weights, .reduction = Reduction::sum}).item(), sum(each).item(),
                1e-8);
  }
}

// Rows longer than vectors, and of any rest, in f32 against f64; the gradient is added to what is there.
TEST(CrossEntropy, KeepsDigitsInLongRows) {
  for (int64_t classes : {15, 16, 64, 67, 1000}) {
    const Tensor start = (random({5, classes}) * 5.0).to(f32);
    const Tensor labels = there(tensor<int64_t>({0, classes - 1, -1, classes / 2, 7}));
    const auto run = [&](DType dtype) {
      Tensor x = start.to(dtype).clone();
      x.set_requires_grad();
      Tape tape;
      const Tensor loss = cross_entropy(x, labels, {.label_smoothing = 0.1, .ignore_index = -1});
      tape.backward(add(loss, sum(x)));
      return std::pair{loss, x.grad()};
    };
    const auto [loss, dx] = run(f32);
    const auto [want, want_dx] = run(f64);
    EXPECT_TRUE(close(loss, want.to(f32), 3e-7)) << classes;
    EXPECT_TRUE(close(dx, want_dx.to(f32), 2e-7)) << classes;
  }
}

TEST(CrossEntropy, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  const Tensor logits = random({5000, 10}), labels = argmax(logits, 1), weight = square(random({10}));
  for (const CrossEntropyOptions& options :
       {CrossEntropyOptions{.label_smoothing = 0.1}, {.weight = weight}, {.reduction = Reduction::none}}) {
    const auto bits = [&](int threads) {
      set_num_threads(threads);
      Tensor x = logits.clone();
      x.set_requires_grad();
      Tape tape;
      const Tensor loss = cross_entropy(x, labels, options);
      tape.backward(loss, {.seed = ones_like(loss)});
      return std::vector<Tensor>{loss, x.grad()};
    };
    const auto one = bits(1), three = bits(3);
    for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], three[i])) << i;
  }
  set_num_threads(before);
}

TEST(CrossEntropy, ReadsStridedInputs) {
  const Tensor x = view::permute(random({5, 8}), {1, 0}), labels = view::slice(argmax(random({16, 5}), 1), 0, 0, 16, 2);
  EXPECT_TRUE(same_bits(cross_entropy(x, labels), cross_entropy(x.contiguous(), labels.contiguous())));
  const Tensor weight = view::slice(square(random({10})), 0, 0, 10, 2);
  EXPECT_TRUE(same_bits(cross_entropy(x, labels, {.weight = weight}),
                        cross_entropy(x, labels, {.weight = weight.contiguous()})));
  // Under a gradient that is one number, expanded.
  const auto each = [&](const Tensor& in) { return sum(cross_entropy(in, labels, {.reduction = Reduction::none})); };
  EXPECT_TRUE(close(gradient(each, x, scalar(2)),
                    gradient([&](const Tensor& in) { return mul(cross_entropy(in, labels), 8); }, x, scalar(2))));
}

TEST(CrossEntropy, OfNothingIsZero) {
  for (const DType dtype : {f32, f64}) {
    Tensor x = there(Tensor({0, 3}, dtype)).set_requires_grad();
    Tape tape;
    const Tensor loss = cross_entropy(x, there(Tensor({0}, i64)), {.label_smoothing = 0.1});
    EXPECT_EQ(loss.item(), 0);
    tape.backward(loss);
    EXPECT_EQ(x.grad().shape(), (Shape{0, 3}));
    const Tensor shares = there(Tensor({0, 3}, dtype)), labels = there(Tensor({0}, i64));
    for (Reduction reduction : {Reduction::mean, Reduction::sum}) {
      EXPECT_EQ(cross_entropy(x, shares, {.reduction = reduction}).item(), 0);
      EXPECT_EQ(nll(x, labels, {.weight = there(ones({3}, dtype)), .reduction = reduction}).item(), 0);
    }
    for (const Tensor& target : {shares, labels})
      EXPECT_EQ(cross_entropy(x, target, {.reduction = Reduction::none}).shape(), (Shape{0}));
  }
  // All ignored: a sum is 0, a mean an error.
  const Tensor x = random({2, 3}), ignored = there(full({2}, -100, i64));
  EXPECT_EQ(cross_entropy(x, ignored, {.reduction = Reduction::sum}).item(), 0);
  expect_values(nll(x, ignored, {.reduction = Reduction::none}), {0, 0});
}

TEST(CrossEntropy, RejectsBadInput) {
  const Tensor x = zeros({4, 10}), labels = zeros({4}, i64);
  expect_error(
      [&] {
        cross_entropy(x, tensor<int64_t>({0, -100, 9, 12}));
      },
      "[cross_entropy] label 12 at index 3 is outside of [0, 10)");
  expect_error(
      [&] {
        cross_entropy(x, tensor<int64_t>({0, -1, 9, 12}));
      },
      "[cross_entropy] label -1 at index 1 is outside of [0, 10)");
  expect_error([&] { cross_entropy(x, full({4}, -100, i64)); },
               "[cross_entropy] every label is ignored: logits [4, 10]");
  expect_error([&] { cross_entropy(x, zeros({5}, i64)); },
               "[cross_entropy] labels [5] are not one for each row of logits [4, 10]");
  expect_error([&] { cross_entropy(x, zeros({4}, u8)); }, "[cross_entropy] labels are u8, not i64: shape [4]");
  expect_error([&] { cross_entropy(x, zeros({4})); }, "[cross_entropy] target [4] has not the shape of logits [4, 10]");
  expect_error(
      [&] {
        cross_entropy(x, zeros({4, 10}, f64));
      },
      "[cross_entropy] dtypes differ: f32 of shape [4, 10] and f64 of shape [4, 10]");
  expect_error(
      [&] {
        cross_entropy(x, zeros({4, 10}), {.ignore_index = 0});
      },
      "[cross_entropy] ignore_index is of labels, not of target [4, 10]");
  expect_error([&] { cross_entropy(zeros({}), labels); }, "[cross_entropy] logits [] are not [..., C]: target [4]");
  expect_error([&] { cross_entropy(zeros({4, 0}), labels); }, "[cross_entropy] logits [4, 0] are not [..., C]");
  expect_error([&] { cross_entropy(zeros({4}), labels); },
               "[cross_entropy] labels [4] are not one for each row of logits [4]");
  expect_error(
      [&] {
        nll(zeros({4, 2, 10}), labels);
      },
      "[nll] labels [4] are not one for each row of logits [4, 2, 10]");
  expect_error([&] { nll(x, tensor<int64_t>({0, 1, 2, 10})); }, "[nll] label 10 at index 3 is outside of [0, 10)");
  expect_error([&] { cross_entropy(x, labels, {.weight = zeros({4})}); },
               "[cross_entropy] class weights [4] are not one for each class of logits [4, 10]");
  expect_error([&] { cross_entropy(x, labels, {.weight = zeros({10}, f64)}); }, "[cross_entropy] dtypes differ: f32");
  expect_error([&] { nll(x, labels, {.weight = zeros({10})}); }, "[nll] every label is ignored: logits [4, 10]");
  expect_error([&] { cross_entropy(x, labels, {.label_smoothing = NAN}); }, "label smoothing nan is outside of [0, 1]");
  {
    Tape tape;
    const Tensor weight = ones({10}).set_requires_grad();
    expect_error([&] { cross_entropy(x, labels, {.weight = weight}); },
                 "[cross_entropy] class weights have no gradient: [10]");
  }
  expect_error([&] { cross_entropy(x, labels, {.label_smoothing = 1.5}); },
               "[cross_entropy] label smoothing 1.5 is outside of [0, 1]");
}

}  // namespace
}  // namespace norma
