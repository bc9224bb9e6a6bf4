// cross_entropy: against PyTorch, against finite differences and its composed form, ignored rows, errors.
#include "norma/ops/reduce/cross_entropy.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(CrossEntropy, AgreesWithPyTorch) {
  for_each_case("loss", "cross_entropy", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    const CrossEntropyOptions options{c.attrs.at("label_smoothing"), c.attrs.at("ignore_index")};
    check_case(c, [&] { return cross_entropy(x, c["labels"], options); }, {{"x", x}});
  });
}

TEST(CrossEntropy, GradientsMatchFiniteDifferences) {
  for (const Shape& shape : {Shape{1, 1}, Shape{1, 7}, Shape{3, 5}, Shape{33, 17}}) {
    Tensor labels = argmax(random(shape, 3), 1);
    for (double smoothing : {0.0, 0.3, 1.0}) {
      for (bool ignore : {false, true}) {
        if (ignore && shape[0] == 1) continue;
        if (ignore) view::slice(labels, 0, 0, 1).fill(-1);
        const auto result = gradcheck(
            [&](const auto& in) {
              return cross_entropy(in[0], labels, {.label_smoothing = smoothing, .ignore_index = -1});
            },
            {random(shape)});
        EXPECT_TRUE(result) << shape.str() << " " << smoothing << " " << result.message;
      }
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
  const Tensor logits = random({5000, 10}), labels = argmax(logits, 1);
  const auto bits = [&](int threads) {
    set_num_threads(threads);
    Tensor x = logits.clone();
    x.set_requires_grad();
    Tape tape;
    const Tensor loss = cross_entropy(x, labels, {.label_smoothing = 0.1});
    tape.backward(loss);
    return std::vector<Tensor>{loss, x.grad()};
  };
  const auto one = bits(1), three = bits(3);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], three[i])) << i;
  set_num_threads(before);
}

TEST(CrossEntropy, ReadsStridedInputs) {
  const Tensor x = view::permute(random({5, 8}), {1, 0}), labels = view::slice(argmax(random({16, 5}), 1), 0, 0, 16, 2);
  EXPECT_TRUE(same_bits(cross_entropy(x, labels), cross_entropy(x.contiguous(), labels.contiguous())));
}

TEST(CrossEntropy, OfNothingIsZero) {
  for (const DType dtype : {f32, f64}) {
    Tensor x = there(Tensor({0, 3}, dtype)).set_requires_grad();
    Tape tape;
    const Tensor loss = cross_entropy(x, there(Tensor({0}, i64)), {.label_smoothing = 0.1});
    EXPECT_EQ(loss.item(), 0);
    tape.backward(loss);
    EXPECT_EQ(x.grad().shape(), (Shape{0, 3}));
  }
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
  expect_error([&] { cross_entropy(x, zeros({4})); }, "[cross_entropy] labels are f32, not i64: shape [4]");
  expect_error([&] { cross_entropy(zeros({4}), labels); }, "[cross_entropy] logits [4] are not [N, C]: labels [4]");
  expect_error([&] { cross_entropy(x, labels, {.label_smoothing = 1.5}); },
               "[cross_entropy] label smoothing 1.5 is outside of [0, 1]");
}

}  // namespace
}  // namespace norma
