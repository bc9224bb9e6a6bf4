// Pooling: against PyTorch, against finite differences, NaNs, large windows, and errors.
#include "norma/ops/pool/pool2d.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

Pair pair(const nlohmann::json& json) { return {json[0], json[1]}; }

Tensor call(const GoldenCase& c, const Tensor& x) {
  if (c.op == "global_avg_pool") return global_avg_pool(x);
  const Pool2dOptions options{
      .kernel = pair(c.attrs["kernel"]), .stride = pair(c.attrs["stride"]), .padding = pair(c.attrs["padding"])};
  return c.op == "max_pool2d" ? max_pool2d(x, options) : avg_pool2d(x, options, c.attrs["count_include_pad"]);
}

TEST(Pool2d, AgreesWithPyTorch) {
  for_each_case("pool2d", "", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return call(c, x); }, {{"x", x}});
  });
}

TEST(Pool2d, GradientsMatchFiniteDifferences) {
  struct Case {
    Shape shape;
    Pool2dOptions options;
  };
  const std::vector<Case> cases = {{{2, 5, 7, 3}, {.kernel = 2}},
                                   {{1, 7, 5, 1}, {.kernel = 3, .stride = 2, .padding = 1}},
                                   {{2, 1, 17, 5}, {.kernel = {1, 3}, .stride = 1, .padding = {0, 1}}},
                                   {{3, 3, 2, 17}, {.kernel = {3, 2}, .stride = Pair{1, 2}, .padding = {1, 0}}},
                                   {{1, 5, 5, 2}, {.kernel = 2, .stride = 3}},
                                   {{1, 17, 18, 1}, {.kernel = {17, 16}, .stride = 1}}};  // a window of more than 256
  for (const auto& [shape, options] : cases) {
    SCOPED_TRACE(shape.str());
    // Values with distances, so that no step of the differences changes who is the largest.
    Tensor x(shape, f64);
    const std::vector<int64_t> order = Generator(5).permutation(x.numel());
    for (int64_t i = 0; i < x.numel(); ++i)
      x.mutable_data<double>()[i] = 0.01 * static_cast<double>(order[static_cast<size_t>(i)]);
    for (int kind = 0; kind < 4; ++kind) {
      const auto result = gradcheck(
          [&](const auto& in) {
            if (kind == 0) return max_pool2d(in[0], options);
            return kind == 3 ? global_avg_pool(in[0]) : avg_pool2d(in[0], options, kind == 1);
          },
          {x});
      EXPECT_TRUE(result) << kind << " " << result.message;
    }
  }
}

TEST(Pool2d, PaddingNeverWinsAndIsCountedOnRequest) {
  const Tensor x = full({1, 2, 2, 1}, -5);
  const Pool2dOptions options{.kernel = 2, .stride = 2, .padding = 1};
  EXPECT_EQ(max_pool2d(x, options).to_vector<double>(), std::vector<double>(4, -5));
  EXPECT_EQ(avg_pool2d(x, options).to_vector<double>(), std::vector<double>(4, -1.25));
  EXPECT_EQ(avg_pool2d(x, options, false).to_vector<double>(), std::vector<double>(4, -5));
  EXPECT_EQ(max_pool2d(full({1, 2, 2, 1}, -INFINITY), options).to_vector<double>(), std::vector<double>(4, -INFINITY));
}

TEST(Pool2d, NaNWins) {
  for (int place = 0; place < 4; ++place) {
    Tensor x = zeros({1, 2, 2, 1});
    x.mutable_data<float>()[place] = NAN;
    EXPECT_TRUE(std::isnan(max_pool2d(x, {.kernel = 2}).item()));
    x.set_requires_grad();
    Tape tape;
    const Tensor y = max_pool2d(x, {.kernel = 2});
    EXPECT_TRUE(std::isnan(y.item()));
    tape.backward(y);
    EXPECT_EQ(x.grad().to_vector<double>()[static_cast<size_t>(place)], 1);
  }
}

TEST(Pool2d, TheFirstOfEqualsTakesTheGradient) {
  for (double value : {0.0, static_cast<double>(-INFINITY)}) {
    Tensor x = full({1, 3, 3, 2}, value);
    x.set_requires_grad();
    Tape tape;
    tape.backward(max_pool2d(x, {.kernel = 3}), {.seed = ones({1, 1, 1, 2})});
    std::vector<double> want(18, 0);
    want[0] = want[1] = 1;
    EXPECT_EQ(x.grad().to_vector<double>(), want);
  }
}

TEST(Pool2d, WindowsOfMoreThan256Elements) {
  Tensor x = zeros({1, 17, 17, 1});
  x.mutable_data<float>()[288] = 1;  // the last place: 32 modulo 256
  x.set_requires_grad();
  Tape tape;
  tape.backward(max_pool2d(x, {.kernel = 17}));
  EXPECT_EQ(x.grad().at({0, 16, 16, 0}), 1);
}

TEST(Pool2d, RecordingChangesNothing) {
  Tensor x = random({2, 9, 7, 5}).to(f32);
  const Tensor plain = max_pool2d(x, {.kernel = 3, .stride = 1, .padding = 1});
  x.set_requires_grad();
  Tape tape;
  EXPECT_TRUE(same_bits(max_pool2d(x, {.kernel = 3, .stride = 1, .padding = 1}), plain));
}

// Those that lost have no gradient, whatever arrives.
TEST(Pool2d, GradientsOfTheLosersAreZero) {
  for (DType dtype : {f32, f64})
    for (double dy : {double{INFINITY}, double{NAN}}) {
      const Tensor x = tensor<double>({1, 2, 0, 0, 3, 3, 0, 0, 7, NAN, 0, 0}, {1, 3, 4, 1}).to(dtype);
      const Tensor dx = gradient([](const Tensor& in) { return max_pool2d(in, {.kernel = {3, 2}}); }, x, scalar(dy));
      expect_values(dx, {0, 0, dy, 0, 0, 0, 0, 0, 0, dy, 0, 0});
      const Tensor zero = full({1, 17, 17, 1}, 0, dtype);  // windows whose winners are in i64
      const Tensor far = gradient([](const Tensor& in) { return max_pool2d(in, {.kernel = 17}); }, zero, scalar(dy));
      EXPECT_EQ(far.at({0, 16, 16, 0}), 0);
    }
}

TEST(Pool2d, ReadsStridedInputsAndEmptyBatches) {
  const Tensor x = view::permute(random({2, 3, 4, 6}), {0, 3, 1, 2});
  EXPECT_TRUE(same_bits(max_pool2d(x, {.kernel = 2}), max_pool2d(x.contiguous(), {.kernel = 2})));
  EXPECT_TRUE(same_bits(avg_pool2d(x, {.kernel = 2}), avg_pool2d(x.contiguous(), {.kernel = 2})));
  Tensor none = zeros({0, 4, 4, 3});
  none.set_requires_grad();
  Tape tape;
  const Tensor y = avg_pool2d(max_pool2d(none, {.kernel = 2}), {.kernel = 2});
  EXPECT_EQ(y.shape(), (Shape{0, 1, 1, 3}));
  tape.backward(y, {.seed = zeros(y.shape())});
  EXPECT_EQ(none.grad().shape(), none.shape());
}

TEST(Pool2d, AveragesLongWindowsExactly) {
  // A sum in f32 of so many ones and a large value would lose the ones.
  Tensor x = full({1, 128, 128, 1}, 1);
  x.mutable_data<float>()[0] = 0x1p26F;
  EXPECT_EQ(global_avg_pool(x).item(), static_cast<float>((0x1p26 + 128 * 128 - 1) / (128 * 128)));
}

TEST(Pool2d, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  std::vector<Tensor> first;
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    Tensor x = random({4, 33, 31, 17}).to(f32);
    x.set_requires_grad();
    Tape tape;
    const Tensor y = avg_pool2d(max_pool2d(x, {.kernel = 3, .stride = 1}), {.kernel = 3, .stride = 2});
    tape.backward(y, {.seed = random(y.shape(), 8).to(f32)});
    if (first.empty()) first = {y.detach(), x.grad()};
    EXPECT_TRUE(same_bits(y, first[0]) && same_bits(x.grad(), first[1]));
  }
  set_num_threads(before);
}

TEST(Pool2d, RejectsBadInput) {
  const Tensor x = zeros({2, 5, 3, 1});
  expect_error([&] { max_pool2d(zeros({3}), {.kernel = 2}); },
               "[max_pool2d] wants [N, H, W, C] with pixels: shape [3]");
  expect_error([&] { global_avg_pool(zeros({3})); }, "[global_avg_pool] wants [N, H, W, C]: shape [3]");
  expect_error([&] { global_avg_pool(zeros({3, 0, 2, 1})); }, "with pixels: shape [3, 0, 2, 1]");
  expect_error([&] { max_pool2d(zeros({2, 5, 3, 1}, i64), {.kernel = 2}); }, "wants floating tensors, not i64");
  expect_error([&] { avg_pool2d(x, {.kernel = {2, 0}}); }, "[avg_pool2d] kernel [2, 0] is empty: input [2, 5, 3, 1]");
  expect_error([&] { avg_pool2d(x, {.kernel = 2, .stride = 0}); }, "stride [0, 0]: wants at least 1");
  expect_error([&] { avg_pool2d(x, {.kernel = 3, .padding = 2}); },
               "padding [2, 2]: wants 0 to half of kernel [3, 3]: input [2, 5, 3, 1]");
  expect_error([&] { max_pool2d(x, {.kernel = 3, .padding = -1}); }, "padding [-1, -1]");
  expect_error([&] { max_pool2d(x, {.kernel = 4}); },
               "kernel [4, 4] is larger than input [2, 5, 3, 1] padded by [0, 0]");
}

}  // namespace
}  // namespace norma
