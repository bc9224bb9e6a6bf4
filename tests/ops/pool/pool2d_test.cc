// Pooling: against PyTorch, against finite differences, NaNs, large windows, and errors.
#include "norma/ops/pool/pool2d.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

Pair pair(const nlohmann::json& json) { return {json[0], json[1]}; }

Tensor call(const GoldenCase& c, const Tensor& x) {
  if (c.op == "global_avg_pool") return global_avg_pool(x);
  const auto& p = c.attrs["padding"];
  const Pool2dOptions options{.kernel = pair(c.attrs["kernel"]),
                              .stride = pair(c.attrs["stride"]),
                              .padding = p.size() == 2 ? Padding2d(pair(p)) : Padding2d(p[0], p[1], p[2], p[3]),
                              .dilation = c.attrs.contains("dilation") ? pair(c.attrs["dilation"]) : Pair(1),
                              .ceil_mode = c.attrs.value("ceil_mode", false),
                              .count_include_pad = c.attrs.value("count_include_pad", true)};
  return c.op == "max_pool2d" ? max_pool2d(x, options) : avg_pool2d(x, options);
}

TEST(Pool2d, AgreesWithPyTorch) {
  const auto check = [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return call(c, x); }, {{"x", x}});
  };
  for_each_case("pool2d", "", check);
  for_each_case("spatial", "max_pool2d", check);
  for_each_case("spatial", "avg_pool2d", check);
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
                                   {{2, 8, 7, 3}, {.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}},
                                   {{1, 9, 8, 2}, {.kernel = {3, 2}, .stride = 2, .padding = 2, .dilation = {2, 3}}},
                                   {{2, 4, 5, 1}, {.kernel = 3, .stride = 1, .padding = {2, 0, 1, 2}}},
                                   {{1, 5, 8, 3}, {.kernel = {4, 3}, .stride = 3, .padding = Padding2d::same()}},
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
          [&, &options = options](const auto& in) {
            if (kind == 0) return max_pool2d(in[0], options);
            Pool2dOptions mean = options;
            mean.count_include_pad = kind == 1;
            return kind == 3 ? global_avg_pool(in[0]) : avg_pool2d(in[0], mean);
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
  EXPECT_EQ(avg_pool2d(x, {.kernel = 2, .padding = 1, .count_include_pad = false}).to_vector<double>(),
            std::vector<double>(4, -5));
  EXPECT_EQ(max_pool2d(full({1, 2, 2, 1}, -INFINITY), options).to_vector<double>(), std::vector<double>(4, -INFINITY));
}

// Nothing is in such a window: -inf, mean 0, and no gradient, whatever arrives.
TEST(Pool2d, WindowsOfPaddingOnly) {
  const Tensor x = there(tensor<double>({1, 2}, {1, 1, 2, 1}));
  const Pool2dOptions far{.kernel = {1, 2}, .stride = Pair(1), .padding = {0, 0, 2, 3}};
  expect_values(max_pool2d(x, far), {-INFINITY, 1, 2, 2, -INFINITY, -INFINITY});
  expect_values(avg_pool2d(x, far), {0, 0.5, 1.5, 1, 0, 0});
  const auto mean = [&](const Tensor& in) {
    Pool2dOptions options = far;
    options.count_include_pad = false;
    return avg_pool2d(in, options);
  };
  expect_values(mean(x), {0, 1, 1.5, 2, 0, 0});
  const Tensor dy = tensor<double>({NAN, 1, 2, 4, INFINITY, NAN}, {1, 1, 6, 1});
  expect_values(gradient([&](const Tensor& in) { return max_pool2d(in, far); }, x.to(cpu_device), dy), {1, 6});
  expect_values(gradient(mean, x.to(cpu_device), dy), {2, 5});
  // The taps are on either side of the only pixel.
  const Pool2dOptions around{.kernel = 2, .stride = 1, .padding = 1, .dilation = 2};
  const Tensor one = full({1, 1, 1, 2}, 7);
  EXPECT_EQ(max_pool2d(one, around).to_vector<double>(), std::vector<double>(2, -INFINITY));
  expect_values(gradient([&](const Tensor& in) { return max_pool2d(in, around); }, one, scalar(NAN)), {0, 0});
}

// By the definition, each place with a window of its own.
TEST(Pool2d, AgreesWithPlainLoops) {
  const Tensor x = random({2, 7, 6, 5});
  const Tensor host = x.to(cpu_device);
  for (int64_t kernel : {1, 2, 3})
    for (int64_t stride : {1, 2, 5})
      for (int64_t dilation : {1, 3})
        for (const Padding2d& p : {Padding2d(0), Padding2d(1, 0, 2, 4), Padding2d(3)})
          for (bool ceil : {false, true}) {
            const Pool2dOptions options{.kernel = kernel,
                                        .stride = Pair(stride, 1),
                                        .padding = p,
                                        .dilation = {dilation, 1},
                                        .ceil_mode = ceil};
            int64_t oh = 0;  // windows inside of the padded image, and one that sticks out but begins in the image
            while (oh * stride + dilation * (kernel - 1) < 7 + p.top + p.bottom) ++oh;
            const bool rest = oh == 0 || (oh - 1) * stride + dilation * (kernel - 1) + 1 < 7 + p.top + p.bottom;
            if (ceil && rest && oh * stride < 7 + p.top && oh > 0) ++oh;
            const int64_t ow = 6 + p.left + p.right - kernel + 1;
            const Tensor y = max_pool2d(x, options), mean = avg_pool2d(x, options);
            ASSERT_EQ(y.shape(), (Shape{2, oh, ow, 5}));
            for (int64_t i = 0; i < y.numel(); ++i) {
              const int64_t c = i % 5, ox = i / 5 % ow, oy = i / 5 / ow % oh, n = i / 5 / ow / oh;
              double best = -INFINITY, sum = 0, count = 0;
              for (int64_t k = 0; k < kernel * kernel; ++k) {
                const int64_t iy = oy * stride - p.top + k / kernel * dilation, ix = ox - p.left + k % kernel;
                if (iy < 7 + p.bottom) ++count;
                if (iy < 0 || iy >= 7 || ix < 0 || ix >= 6) continue;
                best = std::max(best, host.at({n, iy, ix, c}));
                sum += host.at({n, iy, ix, c});
              }
              ASSERT_EQ(y.at({n, oy, ox, c}), best);
              ASSERT_NEAR(mean.at({n, oy, ox, c}), sum / count, 1e-12);
            }
          }
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
  EXPECT_TRUE(same_bits(avg_pool2d(x, 2), avg_pool2d(x.contiguous(), {.kernel = 2})));
  EXPECT_TRUE(same_bits(max_pool2d(x, 2), max_pool2d(x, {.kernel = 2})));
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
  expect_error(
      [&] {
        max_pool2d(x, {.kernel = 2, .dilation = {1, -1}});
      },
      "dilation [1, -1]: wants at least 1: input [2, 5, 3, 1]");
  expect_error([&] { max_pool2d(x, {.kernel = 3, .padding = -1}); }, "padding [-1, -1]: wants at least 0");
  expect_error([&] { max_pool2d(x, {.kernel = 3, .padding = {0, 0, 0, -1}}); }, "padding [0, -1]");
  expect_error([&] { avg_pool2d(x, {.kernel = 3, .padding = {0, 1L << 31, 0, 0}}); }, "wants at most 2147483647");
  expect_error([&] { max_pool2d(x, {.stride = 2}); }, "[max_pool2d] kernel [0, 0] is empty");
  expect_error([&] { max_pool2d(x, {.kernel = 3, .stride = 2, .dilation = 9, .ceil_mode = true}); },
               "is larger than input");
  expect_error([&] { max_pool2d(x, {.kernel = 4}); },
               "kernel [4, 4] is larger than input [2, 5, 3, 1] padded by [0, 0]");
}

}  // namespace
}  // namespace norma
