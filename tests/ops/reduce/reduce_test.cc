// Reductions: against PyTorch, against finite differences, ties, NaN, precision, and equal bits for any thread count.
#include "norma/ops/reduce/reduce.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

using Function = std::function<Tensor(const Tensor&, const Shape&, bool)>;
const std::map<std::string, Function> kFunctions = {
    {"sum", sum}, {"mean", mean}, {"max", max}, {"min", min}, {"logsumexp", logsumexp}};

TEST(Reduce, AgreesWithPyTorch) {
  for_each_case("reduce", "", [](const GoldenCase& c) {
    const bool keepdim = c.attrs.at("keepdim");
    if (c.op == "argmax") {
      EXPECT_TRUE(same_bits(argmax(c["x"], c.attrs.at("axis").get<int64_t>(), keepdim), c["y"]));
      return;
    }
    const Tensor x = c.leaf("x");
    const Shape axes = c.shape("axes");
    check_case(c,
               [&] {
                 if (c.op == "var") return var(x, axes, c.attrs.at("correction"), keepdim);
                 return kFunctions.at(c.op)(x, axes, keepdim);
               },
               {{"x", x}});
  });
}

TEST(Reduce, GradientsMatchFiniteDifferences) {
  std::map<std::string, Function> functions = kFunctions;
  functions["var"] = [](const Tensor& x, const Shape& axes, bool keepdim) { return var(x, axes, 0, keepdim); };
  functions["var 1"] = [](const Tensor& x, const Shape& axes, bool keepdim) { return var(x, axes, 1, keepdim); };
  const std::vector<std::pair<Shape, Shape>> layouts = {{{7}, {}},        {{33, 17}, {0}},        {{33, 17}, {1}},
                                                        {{3, 5, 2}, {1}}, {{3, 5, 2, 1}, {0, 2}}, {{2, 1, 3}, {-1, 0}}};
  for (const auto& [name, f] : functions) {
    for (const auto& [shape, axes] : layouts) {
      for (bool keepdim : {false, true}) {
        const auto result =
            gradcheck([&, f = f, axes = axes](const auto& in) { return f(in[0], axes, keepdim); }, {random(shape)});
        EXPECT_TRUE(result) << name << " " << shape.str() << " " << axes.str() << " " << result.message;
      }
    }
  }
}

// Every way in which the work is cut, against plain sums in double.
TEST(Reduce, SumsShapesOfAllKinds) {
  for (const Shape& shape :
       {Shape{1, 100001, 1}, Shape{1, 30000, 3}, Shape{3, 5000, 33}, Shape{2, 3, 1100}, Shape{1000, 7, 1},
        Shape{70, 2, 65}, Shape{1, 64, 1}, Shape{1, 63, 1}, Shape{4, 0, 3}, Shape{0, 4, 3}}) {
    const Tensor x = random(shape);
    const auto v = x.to_vector<double>();
    const auto y = sum(x, {1}).to_vector<double>();
    const auto high = shape[1] > 0 ? max(x, {1}).to_vector<double>() : std::vector<double>();
    const auto n = static_cast<size_t>(shape[1]), inner = static_cast<size_t>(shape[2]);
    ASSERT_EQ(y.size(), static_cast<size_t>(shape[0]) * inner);
    for (size_t i = 0; i < y.size(); ++i) {
      double want = 0, top = -INFINITY;
      for (size_t k = 0; k < n; ++k) {
        const double value = v[(i / inner * n + k) * inner + i % inner];
        want += value;
        top = std::max(top, value);
      }
      ASSERT_NEAR(y[i], want, 1e-11) << shape.str() << " at " << i;
      if (n > 0) {
        ASSERT_EQ(high[i], top) << shape.str() << " at " << i;
      }
    }
  }
}

TEST(Reduce, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  for (const Shape& shape : {Shape{1, 300001, 1}, Shape{1, 30000, 3}, Shape{3, 5000, 33}, Shape{2, 300, 1100}}) {
    const Tensor x = random(shape);  // f64: rounding to f32 would hide another order of adding
    set_num_threads(1);
    const Tensor one = sum(x, {1});
    for (int threads : {2, 3}) {
      set_num_threads(threads);
      EXPECT_TRUE(same_bits(sum(x, {1}), one)) << shape.str() << " " << threads << " threads";
    }
  }
  set_num_threads(before);
}

TEST(Reduce, LongSumsKeepTheirDigits) {
  // In f32 alone, 2^25 ones stop at 2^24; 0.1 drifts long before.
  EXPECT_EQ(sum(ones({1 << 25})).item(), 1 << 25);
  EXPECT_FLOAT_EQ(static_cast<float>(mean(full({1 << 20, 3}, 0.1)).item()), 0.1f);
  // A mean far above the deviation.
  const Tensor x = add(random({4096}).to(f32), 1e4);
  EXPECT_NEAR(var(x, {}, 0).item(), var(x.to(f64), {}, 0).item(), 1e-6);
}

TEST(Reduce, TiesShareTheGradient) {
  Tensor x = tensor({3.0, 1.0, 3.0, 2.0, 2.0, 2.0}, {2, 3});
  x.set_requires_grad();
  Tape tape;
  tape.backward(max(x, {1}), {.seed = tensor({4.0, 3.0})});
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{2, 0, 2, 1, 1, 1}));
}

TEST(Reduce, KeepsNaNAndInfinity) {
  const Tensor x = tensor<double>({1, NAN, 3, 1});
  EXPECT_TRUE(std::isnan(max(x).item()));
  EXPECT_TRUE(std::isnan(min(x).item()));
  EXPECT_EQ(argmax(x, 0).item(), 1);
  EXPECT_EQ(logsumexp(full({3}, -INFINITY)).item(), -INFINITY);
  EXPECT_EQ(logsumexp(tensor<double>({1, INFINITY})).item(), INFINITY);
  EXPECT_NEAR(logsumexp(full({2}, 1e300, f64)).item(), 1e300, 1e285);
}

// Elements that do not count have no gradient, whatever arrives: those that lost, and those of weight 0.
TEST(Reduce, GradientsGoOnlyToWhatCounts) {
  const auto over = [](auto f) { return [f](const Tensor& x) { return f(x, {1}, false); }; };
  for (DType dtype : {f32, f64})
    for (double dy : {double{INFINITY}, double{NAN}, 6.0}) {
      const Tensor x = tensor<double>({1, 3, 2, 3, NAN, 0, NAN, 1}, {2, 4}).to(dtype), up = scalar(dy, f64);
      expect_values(gradient(over(max), x, up), {0, dy / 2, 0, dy / 2, dy / 2, 0, dy / 2, 0}, "max");
      expect_values(gradient(over(min), -x, up), {0, dy / 2, 0, dy / 2, dy / 2, 0, dy / 2, 0}, "min");
      const double inf = INFINITY;
      const Tensor far = tensor<double>({-inf, 1, -inf, -inf, inf, 3, -inf, inf, -inf, 0, 0, -inf}, {6, 2}).to(dtype);
      expect_values(gradient(over(logsumexp), far, up), {0, dy, 0, 0, dy, 0, 0, dy, 0, dy, dy, 0}, "logsumexp");
      expect_values(gradient(over(logsumexp), tensor<double>({inf, 5, inf}, {1, 3}).to(dtype), up), {dy / 2, 0, dy / 2},
                    "logsumexp of two infinities");
    }
  expect_values(logsumexp(there(tensor<double>({INFINITY, 1, INFINITY}))), {INFINITY});
  expect_values(logsumexp(there(tensor<double>({NAN, 1, INFINITY}))), {NAN});
}

// The neutral elements of max and min, and log(0), so that parts may be merged. A mean of nothing is none, and neither
// has it a place.
TEST(Reduce, OfNoElementsAreTheNeutralOnes) {
  const double inf = INFINITY;
  for (DType dtype : {f32, f64}) {
    const Tensor x = there(zeros({2, 0}, dtype));
    expect_values(sum(x, {1}), {0, 0});
    expect_values(max(x, {1}), {-inf, -inf});
    expect_values(min(x, {1}), {inf, inf});
    expect_values(logsumexp(x, {1}), {-inf, -inf});
    EXPECT_EQ(max(x, {1}, true).shape(), (Shape{2, 1}));
    EXPECT_EQ(max(x, {0}).shape(), Shape{0});
    EXPECT_EQ(max(x).item(), -inf);
    for (const Function& f : {Function(max), Function(min), Function(logsumexp), Function(sum)})
      EXPECT_EQ(gradient([&](const Tensor& in) { return f(in, {1}, false); }, x, scalar(1)).shape(), (Shape{2, 0}));
  }
}

// Two values one step of the dtype apart: their mean is between two numbers.
TEST(Reduce, VarianceKeepsTheDigitsOfTheMean) {
  for (const auto& [dtype, step] : {std::pair{f32, 0x1p24}, {f64, 0x1p53}}) {
    const Tensor pair = tensor<double>({step, step + 2}).to(dtype);
    EXPECT_EQ(var(there(pair)).item(), 2) << name_of(dtype);
    expect_values(gradient([](const Tensor& x) { return var(x); }, pair, scalar(1)), {-2, 2});
    EXPECT_EQ(var(there(full({1000}, 0.1, dtype))).item(), 0) << name_of(dtype);
    // Along any axis, in rows short and long, alone and cut into ranges.
    for (const Shape& shape : {Shape{2, 40000, 1}, Shape{3, 70, 1}, Shape{4, 32, 3}, Shape{1, 5000, 3},
                               Shape{2, 6, 700}, Shape{1, 300, 33}}) {
      const int64_t n = shape[1];
      const Tensor odd = view::reshape(arange(n).to(u8).to(f64), {1, n, 1});  // any values below 256
      const Tensor parity = odd - 2 * (odd / 2).to(i64).to(f64);
      const Tensor x = there(view::expand(step + 2 * parity, shape).contiguous().to(dtype));
      const Tensor y = var(x, {1}, 0);
      EXPECT_TRUE(close(y, full(y.shape(), 1, dtype).to(y.device()), 1e-6)) << shape.str();
    }
  }
}

TEST(Reduce, VarianceOfLargeValuesIsFinite) {
  const Tensor x = there((random({100000}).to(f32) * 1e19 + 1e20));
  EXPECT_NEAR(var(x).item() / var(x.to(f64)).item(), 1, 1e-6);
  EXPECT_NEAR(var(x).item(), 1e38, 2e36);
  EXPECT_NEAR(var(there(tensor<double>({3e19, 2e19, 1e19}).to(f32))).item(), 1e38, 1e31);
  expect_values(
      gradient([](const Tensor& in) { return var(in); }, tensor<double>({1e30, -1e30}).to(f32), scalar(1e-10)),
      {static_cast<float>(2e20), static_cast<float>(-2e20)});
  // Sums beyond f32, whose means are not.
  expect_values(mean(there(full({1000}, 3e38))), {static_cast<float>(3e38)});
  expect_values(var(there(full({5}, 3e38))), {0});
}

TEST(Reduce, VarianceTakesKeepdimWithoutACorrection) {
  const Tensor x = random({3, 4});
  EXPECT_TRUE(same_bits(var(x, {0}, true), var(x, {0}, 1, true)));
  EXPECT_TRUE(same_bits(var(x, {0}, false), var(x, {0})));
}

TEST(Reduce, ArgmaxTakesAnyDtype) {
  const Tensor x = tensor<int64_t>({3, 1, 3, 0, 0, 0}, {2, 3});
  for (DType dtype : {f32, f64, u8, i64})
    EXPECT_EQ(argmax(x.to(dtype), -1).to_vector<int64_t>(), (std::vector<int64_t>{0, 0})) << name_of(dtype);
  EXPECT_EQ(argmax(x, 0, true).shape(), (Shape{1, 3}));
}

TEST(Reduce, ReadsStridedInputs) {
  const Tensor x = view::permute(random({4, 6, 5}), {2, 0, 1});
  for (const Shape& axes : {Shape{}, Shape{0}, Shape{0, 2}})
    EXPECT_TRUE(same_bits(sum(x, axes), sum(x.contiguous(), axes)));
  EXPECT_EQ(sum(view::expand(scalar(2, f64), {3, 5})).item(), 30);
}

// Partial sums take memory only where a sum is cut.
TEST(Reduce, TakesNoMemoryBesideItsResult) {
  const Tensor x = random({1 << 15, 3});
  const int64_t before = cpu_memory().stats().bytes_in_use;
  cpu_memory().reset_peak();
  const Tensor y = sum(x, {1});
  EXPECT_LT(cpu_memory().stats().peak_bytes - before, 2 * y.bytes());
}

TEST(Reduce, RejectsBadInput) {
  expect_error([] { sum(zeros({2, 3}), {2}); }, "[sum] axis 2 is out of range for shape [2, 3]");
  expect_error([] { mean(zeros({2, 3}), {1, -1}); }, "[mean] axis -1 stands twice in [1, -1]: shape [2, 3]");
  expect_error([] { logsumexp(zeros({2}, i64)); }, "[logsumexp] wants floating tensors, not i64: shape [2]");
  expect_error([] { mean(zeros({2, 0}), {1}); }, "[mean] 0 elements to reduce, want at least 1: shape [2, 0]");
  expect_error([] { argmax(zeros({2, 0}), 1); }, "[argmax] 0 elements to reduce, want at least 1: shape [2, 0]");
  expect_error([] { var(zeros({3, 1}), {1}); }, "[var] 1 elements to reduce, want at least 2: shape [3, 1]");
}

}  // namespace
}  // namespace norma
