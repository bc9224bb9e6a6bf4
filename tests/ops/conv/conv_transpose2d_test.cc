// Transposed convolution: against PyTorch, against finite differences, as conv2d's adjoint, and errors.
#include "norma/ops/conv/conv_transpose2d.h"

#include "tests/golden.h"
#include "tests/ops/conv/plain_conv2d.h"

namespace norma {
namespace {

using namespace norma::test;

Pair pair(const nlohmann::json& json) { return {json[0], json[1]}; }

TEST(ConvTranspose2d, AgreesWithPyTorch) {
  for_each_case("conv_transpose2d", "conv_transpose2d", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), w = c.leaf("w");
    std::vector<std::pair<std::string, Tensor>> leaves = {{"x", x}, {"w", w}};
    if (c.attrs["bias"]) leaves.emplace_back("b", c.leaf("b"));
    const ConvTranspose2dOptions options{.stride = pair(c.attrs["stride"]),
                                         .padding = pair(c.attrs["padding"]),
                                         .output_padding = pair(c.attrs["output_padding"]),
                                         .dilation = pair(c.attrs["dilation"]),
                                         .groups = c.attrs["groups"]};
    check_case(
        c, [&] { return conv_transpose2d(x, w, leaves.size() == 3 ? leaves[2].second : Tensor(), options); }, leaves);
  });
}

struct Case {
  Shape x, w;
  ConvTranspose2dOptions options;
};

std::vector<Case> cases() {
  return {{{2, 3, 5, 3}, {3, 3, 3, 5}, {.stride = 2, .padding = 1, .output_padding = 1}},
          {{1, 1, 7, 1}, {1, 2, 3, 2}, {}},
          {{3, 1, 1, 5}, {5, 1, 1, 7}, {}},                                              // pointwise
          {{2, 3, 2, 3}, {3, 1, 1, 2}, {.stride = 3, .output_padding = {2, 1}}},         // holes between pixels
          {{1, 33, 5, 2}, {2, 5, 3, 3}, {.stride = {3, 1}, .padding = {2, 0}}},          // bands of one image
          {{1, 5, 3, 2}, {2, 3, 2, 3}, {.output_padding = {1, 2}, .dilation = {2, 3}}},  // beyond stride
          {{2, 3, 3, 4}, {4, 3, 3, 3}, {.stride = 2, .groups = 2}},
          {{2, 5, 4, 7}, {7, 3, 3, 1}, {.stride = 2, .padding = 1, .output_padding = 1, .groups = 7}}};  // depthwise
}

TEST(ConvTranspose2d, GradientsMatchFiniteDifferences) {
  for (const Case& c : cases()) {
    const Tensor x = random(c.x), w = random(c.w, 2), bias = random({c.w[3] * c.options.groups}, 3);
    const auto result =
        gradcheck([&](const auto& in) { return conv_transpose2d(in[0], in[1], in[2], c.options); }, {x, w, bias});
    EXPECT_TRUE(result) << c.x.str() << c.w.str() << " " << result.message;
    EXPECT_TRUE(gradcheck([&](const auto& in) { return conv_transpose2d(in[0], w, {}, c.options); }, {x}));
    EXPECT_TRUE(gradcheck([&](const auto& in) { return conv_transpose2d(x, in[0], bias, c.options); }, {w}));
  }
}

double dot(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

// <conv2d(y), x> = <y, conv_transpose2d(x)>, with one weight.
TEST(ConvTranspose2d, IsTheAdjointOfConv2d) {
  for (const Case& c : cases()) {
    const ConvTranspose2dOptions& o = c.options;
    if (o.output_padding.h >= o.stride.h || o.output_padding.w >= o.stride.w) continue;  // conv2d has more outputs
    const Tensor x = random(c.x), w = random(c.w, 2);
    const Tensor y = random(conv_transpose2d(x, w, {}, o).shape(), 3);
    const Tensor back =
        plain_conv2d(y, w, {}, {.stride = o.stride, .padding = o.padding, .dilation = o.dilation, .groups = o.groups})
            .y;
    ASSERT_EQ(back.shape(), x.shape());
    const double want = dot(back, x);
    EXPECT_NEAR(dot(y, conv_transpose2d(x, w, {}, o)), want, 1e-10 * (1 + std::abs(want)));
  }
}

TEST(ConvTranspose2d, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  std::vector<Tensor> first;
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    Tensor x = random({1, 33, 31, 7}).to(f32), w = random({7, 3, 3, 5}, 2).to(f32);
    x.set_requires_grad();
    w.set_requires_grad();
    Tape tape;
    const Tensor y = conv_transpose2d(x, w, {}, {.stride = 2, .padding = 1, .output_padding = 1});
    tape.backward(y, {.seed = random(y.shape(), 8).to(f32)});
    const std::vector<Tensor> all = {y.detach(), x.grad(), w.grad()};
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(same_bits(all[i], first[i])) << i;
  }
  set_num_threads(before);
}

TEST(ConvTranspose2d, ReadsStridedInputsAndEmptyBatches) {
  const Tensor x = view::permute(random({2, 3, 4, 5}), {0, 2, 3, 1}),
               w = view::permute(random({3, 2, 3, 3}), {0, 2, 3, 1});
  const Tensor bias = view::slice(random({4}), 0, 0, 4, 2);
  EXPECT_TRUE(
      same_bits(conv_transpose2d(x, w, bias), conv_transpose2d(x.contiguous(), w.contiguous(), bias.contiguous())));
  EXPECT_EQ(conv_transpose2d(zeros({0, 2, 2, 3}), zeros({3, 3, 3, 2}), zeros({2}), {.stride = 2}).shape(),
            (Shape{0, 5, 5, 2}));
}

TEST(ConvTranspose2d, RejectsBadInput) {
  const Tensor x = zeros({2, 3, 5, 4});
  const auto call = [&](const Shape& w, const ConvTranspose2dOptions& options = {}, const Tensor& bias = {}) {
    return [=] { conv_transpose2d(x, zeros(w), bias, options); };
  };
  expect_error(call({3, 3, 3, 2}),
               "[conv_transpose2d] input has 4 channels, weight [3, 3, 3, 2] wants 3: input [2, 3, 5, 4]");
  expect_error(call({4, 3, 3, 2}, {.groups = 3}), "[conv_transpose2d] groups 3 do not divide the 4 input channels");
  expect_error(call({4, 3, 3, 2}, {.groups = 2}, zeros({2})),
               "[conv_transpose2d] bias is [2], weight [4, 3, 3, 2] wants [4]: input [2, 3, 5, 4]");
  expect_error(call({4, 3, 3, 2}, {.stride = 2, .output_padding = {0, 2}}),
               "[conv_transpose2d] output_padding [0, 2]: wants less than stride or dilation");
  expect_error(call({4, 3, 3, 2}, {.output_padding = -1}), "output_padding [-1, -1]");
  expect_error(call({4, 1, 1, 2}, {.padding = 3}), "[conv_transpose2d] the output has no pixels (-3 x -1)");
  expect_error(call({4, 3, 3, 2}, {.stride = 0}), "[conv_transpose2d] stride [0, 0]: wants at least 1");
  expect_error(call({4, 3, 3}), "[conv_transpose2d] wants a weight of four axes");
}

}  // namespace
}  // namespace norma
