// Convolution: against PyTorch, against plain loops (which PyTorch confirms, too), against finite differences; errors.
#include "norma/ops/conv/conv2d.h"

#include "tests/golden.h"
#include "tests/ops/conv/plain_conv2d.h"

namespace norma {
namespace {

using namespace norma::test;

Pair pair(const nlohmann::json& json) { return {json[0], json[1]}; }

TEST(Conv2d, AgreesWithPyTorch) {
  for_each_case("conv2d", "conv2d", [](const GoldenCase& c) {
    for (ConvAlgorithm algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::im2col}) {
      SCOPED_TRACE(static_cast<int>(algorithm));
      const Tensor x = c.leaf("x"), w = c.leaf("w");
      std::vector<std::pair<std::string, Tensor>> leaves = {{"x", x}, {"w", w}};
      if (c.attrs["bias"]) leaves.emplace_back("b", c.leaf("b"));
      const Conv2dOptions options{.stride = pair(c.attrs["stride"]),
                                  .padding = pair(c.attrs["padding"]),
                                  .dilation = pair(c.attrs["dilation"]),
                                  .groups = c.attrs["groups"],
                                  .algorithm = algorithm};
      check_case(
          c, [&] { return conv2d(x, w, leaves.size() == 3 ? leaves[2].second : Tensor(), options); }, leaves);
    }
  });
}

TEST(Conv2d, PlainLoopsAgreeWithPyTorch) {
  for_each_case("conv2d", "conv2d", [](const GoldenCase& c) {
    if (c.dtype != f64) return;
    const bool bias = c.attrs["bias"];
    const PlainConv2d got = plain_conv2d(c["x"], c["w"], bias ? c["b"] : Tensor(),
                                         {.stride = pair(c.attrs["stride"]),
                                          .padding = pair(c.attrs["padding"]),
                                          .dilation = pair(c.attrs["dilation"]),
                                          .groups = c.attrs["groups"]},
                                         c["dy"]);
    EXPECT_TRUE(close(got.y, c["y"]));
    EXPECT_TRUE(close(got.dx, c["dx"]));
    EXPECT_TRUE(close(got.dw, c["dw"]));
    if (bias) {
      EXPECT_TRUE(close(got.dbias, c["db"]));
    }
  });
}

struct Case {
  Shape x, w;
  Conv2dOptions options;
};

// Odd sizes; each is for something: see the comments.
std::vector<Case> cases() {
  return {{{2, 5, 7, 3}, {5, 3, 3, 3}, {.padding = 1}},
          {{1, 1, 17, 2}, {3, 1, 5, 2}, {.padding = {0, 2}}},                    // one row
          {{3, 1, 1, 5}, {7, 1, 1, 5}, {}},                                      // pointwise, one pixel
          {{2, 5, 3, 7}, {2, 1, 1, 7}, {}},                                      // pointwise
          {{2, 5, 3, 6}, {4, 1, 1, 3}, {.groups = 2}},                           // pointwise in groups
          {{1, 5, 4, 3}, {2, 1, 1, 3}, {.stride = 2}},                           // 1x1, yet not pointwise
          {{1, 3, 3, 1}, {2, 1, 1, 1}, {.padding = 2}},                          // a frame of padding only
          {{1, 34, 5, 1}, {2, 3, 3, 1}, {.stride = {3, 1}, .padding = {2, 1}}},  // bands of one image; rows left over
          {{1, 65, 6, 2}, {3, 3, 2, 2}, {.dilation = {2, 3}}},                   // dilated bands
          {{2, 7, 7, 6}, {4, 3, 3, 3}, {.stride = 2, .padding = 1, .groups = 2}},
          {{2, 7, 5, 5}, {5, 3, 3, 1}, {.stride = {1, 2}, .padding = 1, .groups = 5}},  // depthwise
          {{1, 7, 9, 17}, {17, 3, 2, 1}, {.padding = 2, .dilation = 2, .groups = 17}},  // depthwise, dilated
          {{2, 5, 5, 3}, {6, 3, 3, 1}, {.padding = 1, .groups = 3}},                    // two filters a channel
          {{5, 2, 2, 3}, {2, 2, 2, 3}, {.stride = 1}},                                  // one output pixel
          {{2, 3, 3, 2}, {3, 2, 2, 2}, {.stride = 5}},                                  // stride beyond the input
          {{17, 33, 31, 3}, {5, 3, 3, 3}, {.padding = 1}}};                             // several slots and blocks
}

std::vector<Tensor> run(const Case& c, DType dtype, ConvAlgorithm algorithm) {
  Tensor x = random(c.x, 1).to(dtype), w = random(c.w, 2).to(dtype), bias = random({c.w[0]}, 3).to(dtype);
  // First contributions that the gradients must be added to.
  for (Tensor* leaf : {&x, &w, &bias}) {
    leaf->set_requires_grad();
    leaf->set_grad(random(leaf->shape(), 4).to(dtype));
  }
  Conv2dOptions options = c.options;
  options.algorithm = algorithm;
  Tape tape;
  const Tensor y = conv2d(x, w, bias, options);
  tape.backward(y, {.seed = random(y.shape(), 5).to(dtype)});
  return {y.detach(), x.grad(), w.grad(), bias.grad()};
}

TEST(Conv2d, AgreesWithPlainLoops) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(fmt::format("{} {}", c.x, c.w));
    const Tensor x = random(c.x, 1), w = random(c.w, 2), bias = random({c.w[0]}, 3);
    const Tensor dy = random(plain_conv2d_shape(c.x, c.w, c.options), 5);
    const PlainConv2d plain = plain_conv2d(x, w, bias, c.options, dy);
    const auto added = [](const Tensor& grad) { return grad + random(grad.shape(), 4).to(cpu_device); };
    const Tensor want[] = {plain.y, added(plain.dx), added(plain.dw), added(plain.dbias)};
    for (DType dtype : {f32, f64}) {
      for (ConvAlgorithm algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::im2col}) {
        const std::vector<Tensor> got = run(c, dtype, algorithm);
        for (size_t i = 0; i < got.size(); ++i)
          EXPECT_TRUE(close(got[i], want[i].to(dtype), dtype == f32 ? 4e-6 : 1e-12))
              << "algorithm " << static_cast<int>(algorithm) << ", result " << i;
      }
    }
  }
}

TEST(Conv2d, GradientsMatchFiniteDifferences) {
  for (const Case& c : cases()) {
    if (c.x.numel() > 2000) continue;
    const Tensor x = random(c.x), w = random(c.w, 2), bias = random({c.w[0]}, 3);
    for (ConvAlgorithm algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::im2col}) {
      Conv2dOptions options = c.options;
      options.algorithm = algorithm;
      const auto result = gradcheck([&](const auto& in) { return conv2d(in[0], in[1], in[2], options); }, {x, w, bias});
      EXPECT_TRUE(result) << c.x.str() << c.w.str() << " " << result.message;
    }
    // Each alone: what only another's gradient needs is not kept.
    EXPECT_TRUE(gradcheck([&](const auto& in) { return conv2d(in[0], w, {}, c.options); }, {x}));
    EXPECT_TRUE(gradcheck([&](const auto& in) { return conv2d(x, in[0], bias, c.options); }, {w}));
    EXPECT_TRUE(gradcheck([&](const auto& in) { return conv2d(x, w, in[0], c.options); }, {bias}));
  }
}

TEST(Conv2d, KeepsOnlyWhatTheGradientNeeds) {
  const Tensor x = random({2, 5, 5, 3});
  Tensor w = random({4, 3, 3, 3});
  w.set_requires_grad();
  Tape tape;
  const Tensor y = conv2d(x, w, {});
  EXPECT_EQ(tape.profile().at("conv2d").bytes_saved, x.numel() * 8);
  w.fill(0);  // not saved: x wants no gradient
  EXPECT_EQ(tape.entries().front().inputs.size(), 3U);
  expect_error([&] { x.fill(0); }, "a pending tape entry has saved (op 'conv2d')");
}

TEST(Conv2d, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  for (const Case& c : std::vector<Case>{{{17, 33, 31, 3}, {5, 3, 3, 3}, {.padding = 1}},
                                         {{1, 65, 33, 5}, {17, 3, 3, 5}, {.padding = 1}},
                                         {{9, 33, 17, 7}, {33, 1, 1, 7}, {}},
                                         {{9, 33, 17, 7}, {7, 3, 3, 1}, {.padding = 1, .groups = 7}}}) {
    for (DType dtype : {f32, f64}) {
      set_num_threads(1);
      const std::vector<Tensor> want = run(c, dtype, ConvAlgorithm::automatic);
      set_num_threads(3);
      const std::vector<Tensor> got = run(c, dtype, ConvAlgorithm::automatic);
      for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(same_bits(got[i], want[i])) << c.x.str() << " " << i;
    }
  }
  set_num_threads(before);
}

TEST(Conv2d, ReadsStridedInputsAndEmptyBatches) {
  const Tensor x = view::permute(random({2, 3, 6, 5}), {0, 2, 3, 1}),
               w = view::permute(random({4, 3, 2, 3}), {0, 2, 3, 1});
  const Tensor bias = view::slice(random({8}), 0, 0, 8, 2);
  EXPECT_TRUE(same_bits(conv2d(x, w, bias), conv2d(x.contiguous(), w.contiguous(), bias.contiguous())));
  for (ConvAlgorithm algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::im2col, ConvAlgorithm::direct}) {
    const std::vector<Tensor> none = run({{0, 4, 4, 2}, {2, 3, 3, 1}, {.groups = 2}}, f32, algorithm);
    EXPECT_EQ(none[0].shape(), (Shape{0, 2, 2, 2}));
    EXPECT_TRUE(same_bits(none[2], random({2, 3, 3, 1}, 4).to(f32)));  // nothing was added
  }
}

TEST(Conv2d, RejectsBadInput) {
  const Tensor x = zeros({128, 28, 28, 3});
  const auto call = [&](const Shape& w, const Conv2dOptions& options = {}, const Tensor& bias = {}) {
    return [=] { conv2d(x, zeros(w), bias, options); };
  };
  expect_error(call({16, 5, 5, 1}),
               "[conv2d] input has 3 channels, weight [16, 5, 5, 1] wants 1: input [128, 28, 28, 3]");
  expect_error(call({16, 5, 5, 3}, {.groups = 2}),
               "[conv2d] input has 3 channels, weight [16, 5, 5, 3] wants 6 (groups 2): input [128, 28, 28, 3]");
  expect_error(call({16, 5, 5, 1}, {.groups = 3}), "[conv2d] groups 3 do not divide the 16 output channels");
  expect_error(call({16, 5, 5, 3}, {.groups = 0}), "groups 0: wants at least 1");
  expect_error(call({4, 29, 3, 3}),
               "[conv2d] kernel of weight [4, 29, 3, 3] with dilation [1, 1] is larger than input [128, 28, 28, 3] "
               "padded by [0, 0]");
  expect_error(call({4, 3, 3, 3}, {.dilation = {1, 14}}), "with dilation [1, 14] is larger than input");
  expect_error(call({4, 3, 3, 3}, {.stride = {1, 0}}),
               "[conv2d] stride [1, 0]: wants at least 1: input [128, 28, 28, 3]");
  expect_error(call({4, 3, 3, 3}, {.padding = {-1, 0}}), "padding [-1, 0]: wants at least 0");
  expect_error(call({4, 3, 3, 3}, {.dilation = {0, 1}}), "dilation [0, 1]: wants at least 1");
  expect_error(call({4, 3, 3, 3}, {}, zeros({3})),
               "[conv2d] bias is [3], weight [4, 3, 3, 3] wants [4]: input [128, 28, 28, 3]");
  expect_error(call({4, 3, 3}), "wants a weight of four axes, none empty: input [128, 28, 28, 3], weight [4, 3, 3]");
  expect_error(call({4, 0, 3, 3}), "wants a weight of four axes, none empty");
  expect_error(
      [] {
        conv2d(zeros({28, 28, 1}), zeros({4, 3, 3, 1}), {});
      },
      "[conv2d] wants input [N, H, W, C]: input [28, 28, 1], weight [4, 3, 3, 1]");
  expect_error(
      [&] {
        conv2d(x, zeros({4, 3, 3, 3}, f64), {});
      },
      "[conv2d] dtypes differ: f32 of shape [128, 28, 28, 3]");
}

}  // namespace
}  // namespace norma
