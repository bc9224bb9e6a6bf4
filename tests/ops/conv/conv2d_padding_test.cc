// What is around the images of a convolution: sides that differ, "same", copies of the image instead of zeros; and
// conv1d. Every algorithm, against PyTorch and against an image that is padded beforehand.
#include "norma/nn/sequential.h"
#include "tests/golden.h"
#include "tests/ops/conv/plain_conv2d.h"

namespace norma {
namespace {

using namespace norma::test;

Pair pair(const nlohmann::json& json) { return {json[0], json[1]}; }

Padding2d padding(const nlohmann::json& json) {
  return json.is_string() ? Padding2d::same() : Padding2d(json[0], json[1], json[2], json[3]);
}

PadMode mode(const std::string& name) {
  return name == "zeros"      ? PadMode::zeros
         : name == "reflect"  ? PadMode::reflect
         : name == "circular" ? PadMode::circular
                              : PadMode::replicate;
}

constexpr ConvAlgorithm kAlgorithms[] = {ConvAlgorithm::automatic, ConvAlgorithm::im2col, ConvAlgorithm::direct,
                                         ConvAlgorithm::winograd, ConvAlgorithm::winograd2};

// Whether `f` was done; false where the algorithm cannot.
template <class F>
bool can(F&& f) {
  try {
    f();
    return true;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("algorithm cannot do"), std::string::npos) << error.what();
    return false;
  }
}

TEST(Conv2dPadding, AgreesWithPyTorch) {
  for_each_case("spatial", "conv2d", [](const GoldenCase& c) {
    for (ConvAlgorithm algorithm : kAlgorithms) {
      SCOPED_TRACE(static_cast<int>(algorithm));
      const Tensor x = c.leaf("x"), w = c.leaf("w"), b = c.leaf("b");
      const Conv2dOptions options{.stride = pair(c.attrs["stride"]),
                                  .padding = padding(c.attrs["padding"]),
                                  .dilation = pair(c.attrs["dilation"]),
                                  .groups = c.attrs["groups"],
                                  .algorithm = algorithm,
                                  .padding_mode = mode(c.attrs["padding_mode"])};
      if (can([&] { conv2d(x.detach(), w.detach(), b.detach(), options); }))
        check_case(
            c, [&] { return conv2d(x, w, b, options); }, {{"x", x}, {"w", w}, {"b", b}}, c.dtype == f32 ? 1e-5 : 0);
    }
  });
}

TEST(Conv1d, AgreesWithPyTorch) {
  for_each_case("spatial", "conv1d", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), w = c.leaf("w"), b = c.leaf("b");
    const Conv2dOptions options{.stride = c.attrs["stride"].get<int64_t>(),
                                .padding = c.attrs["padding"].get<int64_t>(),
                                .dilation = c.attrs["dilation"].get<int64_t>(),
                                .groups = c.attrs["groups"]};
    check_case(c, [&] { return conv1d(x, w, b, options); }, {{"x", x}, {"w", w}, {"b", b}});
  });
  const Tensor x = random({2, 9, 3}), w = random({4, 4, 3}, 2);
  EXPECT_EQ(conv1d(x, w, {}, {.padding = Padding2d::same()}).shape(), (Shape{2, 9, 4}));
  EXPECT_EQ(conv1d(x, w, {}, {.padding = {0, 0, 3, 0}}).shape(), (Shape{2, 9, 4}));  // causal
}

struct Case {
  Shape x, w;
  Pair stride, dilation;
  int64_t groups;
};

// Every side by itself and together, beyond the kernel too, in every pass: as a convolution of what pad() makes.
TEST(Conv2dPadding, EqualsAConvolutionOfAPaddedImage) {
  const std::vector<Case> cases = {
      {{2, 7, 6, 3}, {5, 3, 3, 3}, 1, 1, 1},      {{1, 9, 8, 16}, {17, 3, 3, 16}, 1, 1, 1},  // Winograd's tiles
      {{1, 5, 7, 8}, {8, 3, 3, 1}, {2, 1}, 1, 8}, {{2, 6, 5, 4}, {6, 2, 3, 2}, {1, 2}, {2, 1}, 2},
      {{1, 4, 4, 2}, {3, 1, 1, 2}, 2, 1, 1},      {{1, 1, 3, 2}, {3, 1, 1, 2}, {3, 1}, 1, 1}};
  for (const Case& c : cases) {
    for (const Padding2d& p :
         {Padding2d(1, 0, 0, 0), Padding2d(0, 1, 0, 0), Padding2d(0, 0, 2, 0), Padding2d(0, 0, 0, 2),
          Padding2d(2, 1, 0, 3), Padding2d(0, 5, 4, 1), Padding2d(5, 0, 0, 4), Padding2d(0, 4, 0, 4)}) {
      const auto inputs = [&](DType dtype) {
        std::vector<Tensor> in = {random(c.x, 1).to(dtype), random(c.w, 2).to(dtype), random({c.w[0]}, 3).to(dtype)};
        for (Tensor& leaf : in) {
          leaf.set_requires_grad();
          leaf.set_grad(random(leaf.shape(), 4).to(dtype));
        }
        return in;
      };
      const auto sweep = [](const std::vector<Tensor>& in, Tape& tape, const Tensor& y) {
        tape.backward(y, {.seed = random(y.shape(), 5).to(y.dtype())});
        return std::vector<Tensor>{y.detach(), in[0].grad(), in[1].grad(), in[2].grad()};
      };
      std::vector<Tensor> want;
      Conv2dOptions options{.stride = c.stride, .dilation = c.dilation, .groups = c.groups};
      {
        const std::vector<Tensor> in = inputs(f64);
        Tape tape;
        const Tensor larger = pad(in[0], {{0, 0}, {p.top, p.bottom}, {p.left, p.right}, {0, 0}});
        options.algorithm = ConvAlgorithm::im2col;
        want = sweep(in, tape, conv2d(larger, in[1], in[2], options));
      }
      options.padding = p;
      for (DType dtype : {f32, f64})
        for (ConvAlgorithm algorithm : kAlgorithms) {
          const std::vector<Tensor> in = inputs(dtype);
          Tape tape;
          options.algorithm = algorithm;
          Tensor y;
          if (!can([&] { y = conv2d(in[0], in[1], in[2], options); })) continue;
          const std::vector<Tensor> got = sweep(in, tape, y);
          for (size_t i = 0; i < got.size(); ++i)
            EXPECT_TRUE(close(got[i], want[i].to(dtype), dtype == f32 ? 2e-5 : 1e-12))
                << c.x.str() << c.w.str() << shape_of(p.before()).str() << shape_of(p.after()).str() << " algorithm "
                << static_cast<int>(algorithm) << ", " << i;
        }
    }
  }
}

TEST(Conv2dPadding, GradientsMatchFiniteDifferences) {
  for (PadMode padding_mode : {PadMode::zeros, PadMode::reflect, PadMode::replicate, PadMode::circular})
    for (const Padding2d& p : {Padding2d(1, 2, 0, 3), Padding2d::same()}) {
      const Conv2dOptions options{.stride = {1, 2}, .padding = p, .padding_mode = padding_mode};
      const auto result = gradcheck([&](const auto& in) { return conv2d(in[0], in[1], in[2], options); },
                                    {random({2, 4, 5, 2}), random({3, 2, 3, 2}, 2), random({3}, 3)});
      EXPECT_TRUE(result) << static_cast<int>(padding_mode) << " " << result.message;
    }
}

TEST(Conv2dPadding, SameKeepsTheSize) {
  for (int64_t size : {1, 2, 5, 8, 9})
    for (int64_t kernel : {1, 2, 3, 4, 7})
      for (int64_t stride : {1, 2, 3, 10})
        for (int64_t dilation : {1, 2}) {
          const Tensor y = conv2d(zeros({1, size, 4, 1}), zeros({1, kernel, 1, 1}), {},
                                  {.stride = stride, .padding = Padding2d::same(), .dilation = dilation});
          EXPECT_EQ(y.shape(), (Shape{1, (size + stride - 1) / stride, (3 + stride) / stride, 1}));
        }
  EXPECT_EQ(checked_padding(Op("conv2d"), Padding2d::same(), {4, 3}, {1, 2}, 1, {1, 6, 7, 1}), Padding2d(1, 2, 1, 1));
}

TEST(Conv2dPadding, FormsOfOneValue) {
  const auto padding = [](const Conv2dOptions& options) { return options.padding; };
  EXPECT_EQ(padding({}), Padding2d(0, 0, 0, 0));
  EXPECT_EQ(padding({.padding = 2}), Padding2d(2, 2, 2, 2));
  EXPECT_EQ(padding({.padding = {2}}), Padding2d(2, 2, 2, 2));
  EXPECT_EQ(padding({.padding = {1, 2}}), Padding2d(1, 1, 2, 2));
  EXPECT_EQ(padding({.padding = Pair(1, 2)}), Padding2d(1, 1, 2, 2));
  EXPECT_EQ(padding({.padding = {1, 2, 3, 4}}), Padding2d(1, 2, 3, 4));
  EXPECT_NE(padding({.padding = Padding2d::same()}), Padding2d(0));
}

// A layer, and the norm behind it that evaluation makes one pass with it.
TEST(Conv2dPadding, LayersTakeEveryForm) {
  manual_seed(3);
  const Tensor x = random({2, 6, 7, 16}).to(f32);
  for (const Conv2dOptions& options : {Conv2dOptions{.padding = {0, 2, 1, 0}},
                                       {.stride = 2, .padding = Padding2d::same()},
                                       {.padding = 1, .padding_mode = PadMode::reflect},
                                       {.padding = {2, 0, 0, 3}, .padding_mode = PadMode::circular}}) {
    nn::Sequential net(nn::Conv2d(16, 8, 3, options), nn::BatchNorm(8), nn::ReLU());
    auto& conv = dynamic_cast<nn::Conv2d&>(net[0]);
    auto& norm = dynamic_cast<nn::Norm&>(net[1]);
    net.to(test_device());
    net.eval();
    EXPECT_TRUE(same_bits(conv(x), conv2d(x, conv.weight, conv.bias, options)));
    EXPECT_TRUE(close(net(x), relu(norm(conv(x)))));
  }
}

TEST(Conv2dPadding, RejectsBadInput) {
  const Tensor x = zeros({1, 4, 5, 2}), w = zeros({3, 3, 3, 2});
  const auto call = [&](const Conv2dOptions& options) { return [=] { conv2d(x, w, {}, options); }; };
  expect_error(call({.padding = {0, 0, 0, -1}}), "[conv2d] padding [0, -1]: wants at least 0: input [1, 4, 5, 2]");
  expect_error(call({.padding = {0, INT64_MAX, 0, 0}}), "[conv2d] padding [9223372036854775807, 0]: wants at most");
  expect_error(call({.padding = 4, .padding_mode = PadMode::reflect}),
               "[pad] pads 4 and 4 of axis 1: want 0 to 3 here: shape [1, 4, 5, 2]");
  expect_error(call({.padding = {0, 0, 0, 6}, .padding_mode = PadMode::circular}), "[pad] pads 0 and 6 of axis 2");
  expect_error(call({.padding = Padding2d::same(), .dilation = 1L << 31}), "[conv2d] dilation");
  EXPECT_EQ(conv2d(x, w, {}, {.padding = Padding2d::same(), .dilation = kMaxStep}).shape(), (Shape{1, 4, 5, 3}));
  expect_error(call({.padding = {1, 0, 0, 0}, .dilation = 3}),
               "with dilation [3, 3] is larger than input [1, 4, 5, 2] padded by [1, 0], [0, 0]");
  expect_error([&] { conv1d(x, zeros({3, 3, 2}), {}); }, "[conv1d] wants input [N, L, C] and a weight of three axes");
  expect_error([&] { conv2d(zeros({1, 0, 4, 2}), w, {}, {.padding = Padding2d::same()}); }, "is larger than input");
}

}  // namespace
}  // namespace norma
