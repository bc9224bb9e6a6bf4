// conv2d_norm: the same bits as the ops one after the other, whatever kernel runs, and whether or not it can be one
// pass; and that it is one where it can.
#include "norma/ops/norm/conv2d_norm.h"

#include <cmath>
#include <limits>

#include "norma/ops/pool/pool2d.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

struct Layer {
  Tensor x, weight, bias, mean, var, gamma, beta, residual;
  Layer(const Shape& in, const Shape& w, const Conv2dOptions& options, DType dtype = f32)
      : x(random(in, 1).to(dtype)),
        weight(random(w, 2).to(dtype)),
        bias(random({w[0]}, 3).to(dtype)),
        mean(random({w[0]}, 4)),
        var(square(random({w[0]}, 5)) + 0.1),
        gamma(random({w[0]}, 6).to(dtype)),
        beta(random({w[0]}, 7).to(dtype)),
        residual(random(conv2d(x, weight, {}, options).shape(), 8).to(dtype)) {}

  Tensor one(const Conv2dOptions& options, const NormOptions& after, const Grouping& by = whole(),
             const std::optional<Pair>& pool = {}) const {
    return conv2d_norm(x, weight, bias, options, by, Statistics::given(mean, var), gamma, beta, after, pool);
  }
  Tensor two(const Conv2dOptions& options, const NormOptions& after, const Grouping& by = whole()) const {
    return norm(conv2d(x, weight, bias, options), by, Statistics::given(mean, var), gamma, beta, after);
  }
};

TEST(Conv2dNorm, GivesTheBitsOfTheTwoOps) {
  const std::pair<ConvAlgorithm, Conv2dOptions> kernels[] = {
      {ConvAlgorithm::winograd, {.padding = 1}},  {ConvAlgorithm::winograd2, {.padding = 1}},
      {ConvAlgorithm::direct, {.padding = 1}},    {ConvAlgorithm::direct, {.stride = 2, .padding = 1}},
      {ConvAlgorithm::im2col, {.padding = 1}},    {ConvAlgorithm::im2col, {}},
      {ConvAlgorithm::automatic, {.padding = 1}}, {ConvAlgorithm::automatic, {.stride = {1, 2}}}};
  for (auto [algorithm, options] : kernels)
    for (const auto& [size, in, out] : {std::tuple<int64_t, int64_t, int64_t>{5, 3, 16}, {8, 16, 16}, {9, 17, 33}})
      for (const Activation& activation : {Activation::none(), Activation::relu(), Activation::leaky_relu(0.2)})
        for (bool with_residual : {false, true}) {
          options.algorithm = algorithm;
          const Layer layer({3, size, size, in}, {out, 3, 3, in}, options);
          NormOptions after = {.eps = 1e-3, .activation = activation};
          if (with_residual) after.residual = {layer.residual};
          EXPECT_TRUE(same_bits(layer.one(options, after), layer.two(options, after)))
              << "algorithm " << static_cast<int>(algorithm) << " size " << size << " channels " << in << " " << out
              << " activation " << static_cast<int>(activation.kind) << " residual " << with_residual;
          for (const Pair& window : {Pair(2), Pair{3, 2}})
            EXPECT_TRUE(same_bits(layer.one(options, after, whole(), window),
                                  max_pool2d(layer.two(options, after), {.kernel = window})))
                << "max pool " << window.h << " algorithm " << static_cast<int>(algorithm) << " size " << size
                << " channels " << in << " " << out << " activation " << static_cast<int>(activation.kind)
                << " residual " << with_residual;
        }
}

TEST(Conv2dNorm, GivesTheBitsOfTheTwoOpsWithWideWeights) {  // which Winograd cuts up
  const Conv2dOptions options = {.padding = 1, .algorithm = ConvAlgorithm::winograd};
  const Layer layer({2, 9, 6, 330}, {315, 3, 3, 330}, options);
  NormOptions after = {.activation = Activation::relu()};
  EXPECT_TRUE(same_bits(layer.one(options, after, whole(), 2), max_pool2d(layer.two(options, after), {.kernel = 2})));
  after.residual = {layer.residual};
  EXPECT_TRUE(same_bits(layer.one(options, after), layer.two(options, after)));
}

TEST(Conv2dNorm, GivesTheBitsOfTheTwoOpsWithoutAffine) {
  const Conv2dOptions options = {.padding = 1};
  Layer layer({3, 8, 8, 16}, {16, 3, 3, 16}, options);
  layer.gamma = Tensor();
  EXPECT_TRUE(same_bits(layer.one(options, {}), layer.two(options, {})));
  layer.beta = layer.bias = Tensor();
  EXPECT_TRUE(same_bits(layer.one(options, {}), layer.two(options, {})));
}

TEST(Conv2dNorm, LetsANaNWinItsWindow) {
  for (const ConvAlgorithm algorithm : {ConvAlgorithm::winograd, ConvAlgorithm::winograd2, ConvAlgorithm::direct}) {
    const Conv2dOptions options = {.padding = 1, .algorithm = algorithm};
    const Layer layer({2, 12, 12, 16}, {16, 3, 3, 16}, options);
    layer.x.mutable_data<float>()[(12 * 4 + 6) * 16] = std::numeric_limits<float>::quiet_NaN();
    for (const Activation& activation : {Activation::none(), Activation::relu(), Activation::leaky_relu(0.2)}) {
      const NormOptions after = {.activation = activation};
      const Tensor y = layer.one(options, after, whole(), 2);
      EXPECT_TRUE(std::isnan(y.data<float>()[(6 * 2 + 3) * 16]));
      const Tensor direct = layer.one({.padding = 1, .algorithm = ConvAlgorithm::direct}, after, whole(), 2);
      EXPECT_TRUE(close(y, direct, 1e-5));  // and no other window
      EXPECT_TRUE(same_bits(y, max_pool2d(layer.two(options, after), {.kernel = 2})));
    }
  }
}

TEST(Conv2dNorm, TakesWhatOnePassCannotDo) {
  const Conv2dOptions plain = {.padding = 1}, depthwise = {.padding = 1, .groups = 16};
  const Layer layer({2, 6, 6, 16}, {16, 3, 3, 16}, plain), deep({2, 6, 6, 16}, {16, 3, 3, 1}, depthwise),
      doubles({2, 6, 6, 16}, {16, 3, 3, 16}, plain, f64);
  EXPECT_TRUE(same_bits(deep.one(depthwise, {}), deep.two(depthwise, {})));
  EXPECT_TRUE(same_bits(doubles.one(plain, {}), doubles.two(plain, {})));
  EXPECT_TRUE(same_bits(layer.one(plain, {.center = false}), layer.two(plain, {.center = false})));
  // Statistics of the batch; of channel groups.
  EXPECT_TRUE(same_bits(conv2d_norm(layer.x, layer.weight, {}, plain, instance(), {}, {}, {}),
                        norm(conv2d(layer.x, layer.weight, {}, plain), instance(), {}, {}, {})));
  const Statistics four = Statistics::given(random({4}, 1), square(random({4}, 2)) + 0.1);
  const Grouping by = {Samples::whole(), Positions::all, Channels::groups(4)};
  EXPECT_TRUE(same_bits(conv2d_norm(layer.x, layer.weight, {}, plain, by, four, {}, {}),
                        norm(conv2d(layer.x, layer.weight, {}, plain), by, four, {}, {})));
  // No images.
  const Layer empty({0, 6, 6, 16}, {16, 3, 3, 16}, plain);
  EXPECT_EQ(empty.one(plain, {}).shape(), (Shape{0, 6, 6, 16}));
}

TEST(Conv2dNorm, RecordsTheTwoOpsWhereAGradientIsWanted) {
  const Layer layer({2, 6, 6, 16}, {16, 3, 3, 16}, {.padding = 1});
  const Layer leaf = [] {
    Layer made({2, 6, 6, 16}, {16, 3, 3, 16}, {.padding = 1});
    made.gamma.set_requires_grad();
    return made;
  }();
  Tape tape;
  layer.one({.padding = 1}, {});
  EXPECT_EQ(tape.entries().size(), 0u);
  const Tensor y = leaf.one({.padding = 1}, {});
  EXPECT_EQ(tape.entries().size(), 1u);
  tape.backward(y, {.seed = random(y.shape(), 9).to(f32)});
  EXPECT_TRUE(leaf.gamma.grad().defined());
}

TEST(Conv2dNorm, IsOnePass) {
  const Conv2dOptions options = {.padding = 1};
  const Layer layer({8, 32, 32, 16}, {16, 3, 3, 16}, options);
  const int64_t output = 8 * 32 * 32 * 16 * 4;
  const auto most = [&](const std::function<Tensor()>& f) {
    f();
    const int64_t before = cpu_memory().stats().bytes_in_use;
    cpu_memory().reset_peak();
    f();
    return cpu_memory().stats().peak_bytes - before;
  };
  EXPECT_LT(most([&] { return layer.one(options, {}); }), 2 * output);
  EXPECT_LT(most([&] { return layer.one(options, {}, whole(), 2); }), output);
  EXPECT_GE(most([&] { return layer.two(options, {}); }), 2 * output);
}

TEST(Conv2dNorm, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  const Layer layer({5, 13, 13, 17}, {33, 3, 3, 17}, {.padding = 1});
  for (const ConvAlgorithm algorithm : {ConvAlgorithm::winograd, ConvAlgorithm::direct})
    for (const bool pool : {false, true}) {
      const auto bits = [&](int threads) {
        set_num_threads(threads);
        NormOptions after = {.activation = Activation::relu()};
        if (!pool) after.residual = {layer.residual};
        return layer.one({.padding = 1, .algorithm = algorithm}, after, whole(),
                         pool ? std::optional<Pair>(2) : std::nullopt);
      };
      EXPECT_TRUE(same_bits(bits(1), bits(3)));
    }
  set_num_threads(before);
}

TEST(Conv2dNorm, RejectsBadInput) {
  const Layer layer({2, 10, 10, 16}, {16, 3, 3, 16}, {});
  expect_error(
      [&] {
        layer.one({}, {.residual = {zeros({2, 8, 8, 15})}});
      },
      "[conv2d_norm] residual [2, 8, 8, 15] for output [2, 8, 8, 16]");
  expect_error([&] { layer.one({.padding = -1}, {}); }, "[conv2d_norm] padding [-1, -1]: wants at least 0");
  expect_error(
      [&] { conv2d_norm(layer.x, layer.weight, {}, {}, whole(), Statistics::given(zeros({15}), ones({15})), {}, {}); },
      "[norm] given statistics of shapes [15] and [15]");
}

}  // namespace
}  // namespace norma
