// Resampling, adaptive pooling, and pixels from channels: against PyTorch, against finite differences, and errors.
#include "norma/ops/pool/interpolate.h"

#include "norma/ops/pool/pool2d.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

Tensor call(const GoldenCase& c, const Tensor& x) {
  const InterpolateOptions options{
      .mode = c.attrs["mode"] == "nearest" ? Interpolation::nearest : Interpolation::bilinear,
      .align_corners = c.attrs["align_corners"]};
  if (c.attrs.contains("scale")) return interpolate(x, Scale(c.attrs["scale"][0], c.attrs["scale"][1]), options);
  return interpolate(x, Pair(c.attrs["size"][0], c.attrs["size"][1]), options);
}

TEST(Interpolate, AgreesWithPyTorch) {
  for_each_case("spatial", "interpolate", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return call(c, x); }, {{"x", x}});
  });
  for_each_case("upsample", "upsample_nearest", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return interpolate(x, Scale(c.attrs["scale"][0], c.attrs["scale"][1])); }, {{"x", x}});
  });
}

TEST(AdaptiveAvgPool2d, AgreesWithPyTorch) {
  for_each_case("spatial", "adaptive_avg_pool2d", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    const Pair size(c.attrs["size"][0], c.attrs["size"][1]);
    check_case(c, [&] { return adaptive_avg_pool2d(x, size); }, {{"x", x}});
  });
}

TEST(PixelShuffle, AgreesWithPyTorch) {
  for_each_case("spatial", "pixel_shuffle", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    const int64_t r = c.attrs["r"];
    check_case(c, [&] { return pixel_shuffle(x, r); }, {{"x", x}});
  });
}

TEST(PixelUnshuffle, AgreesWithPyTorch) {
  for_each_case("spatial", "pixel_unshuffle", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    const int64_t r = c.attrs["r"];
    check_case(c, [&] { return pixel_unshuffle(x, r); }, {{"x", x}});
    EXPECT_TRUE(same_bits(pixel_shuffle(pixel_unshuffle(x, r), r), x));
  });
}

const InterpolateOptions kModes[] = {
    {}, {.mode = Interpolation::bilinear}, {.mode = Interpolation::bilinear, .align_corners = true}};

TEST(Interpolate, GradientsMatchFiniteDifferences) {
  for (const Shape& shape : {Shape{2, 3, 5, 1}, Shape{1, 1, 7, 17}, Shape{3, 2, 1, 3}}) {
    for (const Pair size : {Pair(1), Pair(2, 3), Pair(7, 10)}) {
      for (const InterpolateOptions& options : kModes) {
        const auto result =
            gradcheck([&](const auto& in) { return interpolate(in[0], size, options); }, {random(shape)});
        EXPECT_TRUE(result) << result.message;
      }
      const auto result = gradcheck([&](const auto& in) { return adaptive_avg_pool2d(in[0], size); }, {random(shape)});
      EXPECT_TRUE(result) << result.message;
    }
    const auto result =
        gradcheck([&](const auto& in) { return interpolate(in[0], Scale(2.4, 1.3), kModes[1]); }, {random(shape)});
    EXPECT_TRUE(result) << result.message;
  }
  EXPECT_TRUE(gradcheck([](const auto& in) { return pixel_shuffle(in[0], 2); }, {random({2, 2, 3, 8})}));
  EXPECT_TRUE(gradcheck([](const auto& in) { return pixel_unshuffle(in[0], 2); }, {random({2, 4, 6, 3})}));
}

// The rule in exact integers, and sizes by a scale.
TEST(Interpolate, NearestTakesTheRightPixel) {
  for (int64_t in : {1, 3, 7, 49, 100, 1000})
    for (int64_t out : {1, 2, 7, 27, 123, 999, 3000}) {
      const Tensor x = reshape(arange(in, f64), {1, in, 1, 1});
      std::vector<double> want;
      for (int64_t i = 0; i < out; ++i) want.push_back(static_cast<double>(i * in / out));
      expect_values(interpolate(there(x.to(f32)), Pair(out, 1)), want, fmt::format("{} to {}", in, out));
      expect_values(interpolate(there(x), Pair(out, 1)), want);
    }
  const Tensor x = there(reshape(arange(30, f64), {1, 1, 30, 1}));
  for (double scale : {1.1, 0.7, 3.3, 8.3, 1 / 3.0}) {
    const int64_t size = static_cast<int64_t>(30 * scale);
    EXPECT_TRUE(same_bits(interpolate(x, Scale(1, scale)), interpolate(x, Pair(1, size)))) << scale;
  }
}

TEST(Interpolate, IsWhatOneExpects) {
  const Tensor x = random({2, 3, 4, 5});
  for (const InterpolateOptions& options : kModes) {  // the same size: the same pixels
    EXPECT_TRUE(same_bits(interpolate(x, Pair(3, 4), options), x));
    EXPECT_TRUE(same_bits(interpolate(x, Scale(1), options), x));
  }
  EXPECT_TRUE(same_bits(interpolate(x, Scale(2, 3)), interpolate(x, Pair(6, 12))));
  EXPECT_TRUE(same_bits(interpolate(x, Scale(Pair(2, 3))), interpolate(x, Pair(6, 12))));
  EXPECT_EQ(interpolate(x, Scale(1.5, 0.3)).shape(), (Shape{2, 4, 1, 5}));
  EXPECT_TRUE(close(adaptive_avg_pool2d(x, {3, 2}), avg_pool2d(x, {.kernel = {1, 2}})));
  EXPECT_TRUE(close(reshape(adaptive_avg_pool2d(x, 1), {2, 5}), global_avg_pool(x)));
  EXPECT_EQ(pixel_shuffle(zeros({1, 1, 1, 9}, u8), 3).shape(), (Shape{1, 3, 3, 1}));
  EXPECT_EQ(pixel_unshuffle(zeros({1, 3, 3, 1}, u8), 3).shape(), (Shape{1, 1, 1, 9}));
}

// A pixel whose weight is 0 is not read, nor does its gradient see what arrives.
TEST(Interpolate, WhatHasNoWeightDoesNotSpread) {
  for (double bad : {double{INFINITY}, double{NAN}}) {
    const Tensor x = there(tensor<double>({1, bad, 3}, {1, 1, 3, 1}));
    expect_values(interpolate(x, Pair(1, 3), kModes[1]), {1, bad, 3});
    expect_values(interpolate(x, Pair(1, 5), kModes[2]), {1, bad, bad, bad, 3});
    expect_values(interpolate(x, Pair(1, 2)), {1, bad});
    expect_values(adaptive_avg_pool2d(x, {1, 3}), {1, bad, 3});
    const Tensor dy = tensor<double>({1, bad, 3, 4, 5}, {1, 1, 5, 1});
    expect_values(
        gradient([](const Tensor& in) { return interpolate(in, Pair(1, 5), kModes[2]); }, x.to(cpu_device), dy),
        {bad, bad, 7});
  }
}

TEST(Interpolate, ReadsStridedInputsAndEmptyBatches) {
  const Tensor x = view::permute(random({2, 3, 4, 6}), {0, 3, 1, 2});
  for (const InterpolateOptions& options : kModes)
    EXPECT_TRUE(same_bits(interpolate(x, Pair(5), options), interpolate(x.contiguous(), Pair(5), options)));
  EXPECT_EQ(interpolate(zeros({0, 2, 3, 4}), Scale(2, 3)).shape(), (Shape{0, 4, 9, 4}));
  EXPECT_EQ(adaptive_avg_pool2d(zeros({2, 2, 3, 0}), 2).shape(), (Shape{2, 2, 2, 0}));
}

TEST(Interpolate, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  for (int kind = 0; kind < 3; ++kind) {
    std::vector<Tensor> first;
    for (int threads : {1, 3}) {
      set_num_threads(threads);
      Tensor x = random({2, 33, 17, 5}).to(f32);
      x.set_requires_grad();
      Tape tape;
      const Tensor y = kind == 2 ? adaptive_avg_pool2d(x, {9, 5}) : interpolate(x, Scale(3), kModes[kind]);
      tape.backward(y, {.seed = random(y.shape(), 8).to(f32)});
      if (first.empty()) first = {y.detach(), x.grad()};
      EXPECT_TRUE(same_bits(y, first[0]) && same_bits(x.grad(), first[1])) << kind;
    }
  }
  set_num_threads(before);
}

TEST(Interpolate, RejectsBadInput) {
  const Tensor x = zeros({2, 3, 1, 1});
  expect_error(
      [] {
        interpolate(zeros({2, 3}), Pair(2));
      },
      "[interpolate] wants [N, H, W, C] with pixels: shape [2, 3]");
  expect_error([] { interpolate(zeros({2, 0, 3, 1}), Scale(2)); }, "[interpolate] wants [N, H, W, C] with pixels");
  expect_error([&] { interpolate(x, Pair(2, 0)); },
               "[interpolate] output size [2, 0]: wants 1 to 2147483647, as the input: [2, 3, 1, 1]");
  expect_error([&] { interpolate(x, Scale(0.3, 1)); },
               "[interpolate] output size [0, 1]: wants 1 to 2147483647, as the input: [2, 3, 1, 1]");
  for (double scale : {-1.0, double{NAN}, double{INFINITY}, 1e300})
    expect_error([&] { interpolate(x, Scale(1, scale)); }, "output size [3, 0]: wants 1 to");
  expect_error([&] { interpolate(x, Pair(2), {.align_corners = true}); }, "align_corners is for bilinear");
  expect_error([] { interpolate(zeros({2, 3, 1, 1}, u8), Pair(2)); }, "wants floating tensors, not u8");
  expect_error([&] { adaptive_avg_pool2d(x, {1, -1}); }, "[interpolate] output size [1, -1]: wants 1 to");
  expect_error([] { adaptive_avg_pool2d(zeros({3}), 1); }, "[interpolate] wants [N, H, W, C]");
  for (int64_t r : {int64_t{0}, int64_t{-2}, int64_t{2}, INT64_MAX})
    expect_error([&] { pixel_shuffle(x, r); }, fmt::format("[pixel_shuffle] {} does not fit shape [2, 3, 1, 1]", r));
  expect_error([] { pixel_shuffle(zeros({4}), 2); }, "wants [N, H, W, C r r]");
  for (int64_t r : {int64_t{0}, int64_t{-1}, int64_t{2}, int64_t{3}, INT64_MAX})
    expect_error([&] { pixel_unshuffle(x, r); },
                 fmt::format("[pixel_unshuffle] {} does not fit shape [2, 3, 1, 1]: wants [N, H r, W r, C]", r));
  expect_error([] { pixel_unshuffle(zeros({4}), 2); }, "[pixel_unshuffle] 2 does not fit shape [4]");
}

}  // namespace
}  // namespace norma
