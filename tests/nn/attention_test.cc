// Attention and MultiheadAttention: beside PyTorch, gradients, masks, errors.
#include "norma/nn/attention.h"

#include <limits>

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Attention, AgreesWithPyTorch) {
  for_each_case("layers", "attention", [](const GoldenCase& c) {
    const Tensor q = c.leaf("q"), k = c.leaf("k"), v = c.leaf("v");
    std::vector<std::pair<std::string, Tensor>> leaves = {{"q", q}, {"k", k}, {"v", v}};
    AttentionOptions options{.causal = c.attrs["causal"]};
    if (c.attrs.contains("scale")) options.scale = c.attrs["scale"].get<double>();
    if (c.has("mask")) options.mask = c.has("dmask") ? c.leaf("mask") : c["mask"];
    if (c.has("dmask")) leaves.emplace_back("mask", options.mask);
    check_case(
        c, [&] { return scaled_dot_product_attention(q, k, v, options); }, leaves);
  });
}

TEST(Attention, PassesGradcheck) {
  const Tensor q = random({2, 3, 4}), k = random({5, 4}, 2), v = random({2, 5, 2}, 3), mask = random({3, 5}, 4);
  const auto result = gradcheck(
      [](const auto& in) { return scaled_dot_product_attention(in[0], in[1], in[2], {.mask = in[3], .causal = true}); },
      {q, k, v, mask});
  EXPECT_TRUE(result) << result.message;
}

// Of a query that may use no key the result is 0, and so are the gradients, whatever stands there.
TEST(Attention, OfNoKeyIsZero) {
  const Tensor mask = there(tensor({true, false, false, false}, {2, 2}));
  const Tensor q = random({2, 3}).set_requires_grad(), k = random({2, 3}, 2).set_requires_grad(),
               v = random({2, 3}, 3).set_requires_grad();
  Tape tape;
  const Tensor y = scaled_dot_product_attention(q, k, v, {.mask = mask});
  tape.backward(y, {.seed = random({2, 3}, 4)});
  EXPECT_TRUE(same_bits(view::slice(y, 0, 1, 2), zeros({1, 3}, f64, test_device())));
  EXPECT_TRUE(close(view::slice(y, 0, 0, 1), view::slice(v, 0, 0, 1)));
  EXPECT_TRUE(same_bits(view::slice(q.grad(), 0, 1, 2), zeros({1, 3}, f64, test_device())));
  EXPECT_TRUE(same_bits(view::slice(v.grad(), 0, 1, 2), zeros({1, 3}, f64, test_device())));
  EXPECT_TRUE(close(k.grad(), zeros({2, 3}, f64, test_device())));  // one key: nothing to choose
}

TEST(Attention, DropsWeightsFromTheDefaultGenerator) {
  const Tensor q = random({4, 3}), k = random({6, 3}, 2), one = there(ones({6, 1}, f64));
  manual_seed(5);
  const Tensor y = scaled_dot_product_attention(q, k, one, {.dropout = 0.5});
  manual_seed(5);
  EXPECT_TRUE(same_bits(y, matmul(dropout(softmax(matmul(q * (1 / std::sqrt(3.0)), transpose(k, 0, 1))), 0.5), one)));
  EXPECT_FALSE(close(y, there(ones({4, 1}, f64))));
}

TEST(Attention, SaysWhatDoesNotFit) {
  const auto attend = [](const Shape& q, const Shape& k, const Shape& v, const AttentionOptions& o = {}) {
    return [=] { scaled_dot_product_attention(random(q), random(k), random(v), o); };
  };
  expect_error(attend({3}, {4, 5}, {4, 5}), "[scaled_dot_product_attention] want query [..., L, E]");
  expect_error(attend({3, 5}, {4, 6}, {4, 5}), "not [3, 5], [4, 6] and [4, 5]");
  expect_error(attend({3, 5}, {4, 5}, {5, 5}), "not [3, 5], [4, 5] and [5, 5]");
  expect_error(attend({3, 5}, {4, 5}, {4, 5}, {.mask = random({4, 3})}),
               "mask [4, 3] does not broadcast to the scores");
  expect_error(attend({3, 5}, {4, 5}, {4, 5}, {.scale = kInfinity}), "a scale of inf");
  expect_error(attend({3, 5}, {4, 5}, {4, 5}, {.dropout = 1}), "[dropout] p 1");
  expect_error(attend({2, 3, 5}, {3, 4, 5}, {3, 4, 5}), "[matmul]");
  expect_error([] { scaled_dot_product_attention(Tensor(), random({2, 2}), random({2, 2})); }, "undefined");
}

}  // namespace

namespace nn {
namespace {

using namespace norma::test;

TEST(MultiheadAttention, AgreesWithPyTorch) {
  for_each_case("layers", "multihead_attention", [](const GoldenCase& c) {
    const bool bias = c.attrs["bias"], same = c.attrs["same"];
    MultiheadAttention layer(6, 3, {.bias = bias});
    layer.in_proj_weight = Parameter(c["in_weight"]);
    layer.out_proj.weight = Parameter(c["out_weight"]);
    if (bias) {
      layer.in_proj_bias = Parameter(c["in_bias"]);
      layer.out_proj.bias = Parameter(c["out_bias"]);
    }
    const Tensor x = c.leaf("x"), keys = same ? x : c.leaf("other");
    std::vector<std::pair<std::string, Tensor>> leaves = {
        {"x", x}, {"in_weight", layer.in_proj_weight}, {"out_weight", layer.out_proj.weight}};
    if (bias) leaves.insert(leaves.end(), {{"in_bias", layer.in_proj_bias}, {"out_bias", layer.out_proj.bias}});
    if (!same) leaves.emplace_back("other", keys);
    check_case(
        c, [&] { return layer(x, keys, keys, {.causal = c.attrs["causal"]}); }, leaves, c.dtype == f32 ? 1e-4 : 0);
  });
}

TEST(MultiheadAttention, NamesAndStartsAsPyTorch) {
  MultiheadAttention layer(8, 2);
  std::vector<std::string> names;
  for (const auto& [name, _] : layer.named_parameters()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"}));
  EXPECT_TRUE(same_bits(layer.in_proj_bias, zeros({24})));
  EXPECT_TRUE(same_bits(layer.out_proj.bias, zeros({8})));
  const double bound = std::sqrt(6.0 / (24 + 8));  // of xavier_uniform
  EXPECT_LE(max(abs(layer.in_proj_weight)).item(), bound);
  EXPECT_GT(max(abs(layer.in_proj_weight)).item(), 0.9 * bound);
  EXPECT_EQ(MultiheadAttention(8, 2, {.bias = false}).named_parameters().size(), 2u);
}

TEST(MultiheadAttention, SelfAttentionIsThatOfThreeInputs) {
  MultiheadAttention layer(6, 2);
  const Tensor x = randn({2, 5, 6});
  EXPECT_TRUE(close(layer(x), layer(x, x.clone(), x.clone()), 1e-6));
  // A mask of keys: what is not to be used may be anything.
  const Tensor mask = reshape(tensor({true, true, true, false, false}), {1, 1, 1, 5});
  Tensor other = x.clone();
  view::slice(other, 1, 3, 5).fill(9);
  EXPECT_TRUE(
      same_bits(layer(x, x, x, {.mask = mask}).dim(1) ? view::slice(layer(x, x, x, {.mask = mask}), 1, 0, 3) : x,
                view::slice(layer(other, other, other, {.mask = mask}), 1, 0, 3)));
}

TEST(MultiheadAttention, DropsInTrainingOnly) {
  MultiheadAttention layer(6, 2, {.dropout = 0.5});
  const Tensor x = randn({2, 5, 6});
  EXPECT_FALSE(same_bits(layer(x), layer(x)));
  layer.eval();
  EXPECT_TRUE(same_bits(layer(x), layer(x)));
}

TEST(MultiheadAttention, SaysWhatDoesNotFit) {
  expect_error([] { MultiheadAttention(6, 4); }, "[MultiheadAttention] 4 heads do not divide 6 features");
  expect_error([] { MultiheadAttention(6, 0); }, "[MultiheadAttention] 0 heads");
  expect_error([] { MultiheadAttention(6, 2, {.dropout = 1}); }, "[MultiheadAttention] a dropout of 1");
  MultiheadAttention layer(6, 2);
  expect_error([&] { layer(randn({5, 6})); }, "[MultiheadAttention] want [N, L, 6]");
  expect_error([&] { layer(randn({2, 5, 4})); }, "query [2, 5, 4]");
  expect_error([&] { layer(randn({2, 5, 6}), randn({3, 5, 6}), randn({3, 5, 6})); }, "key [3, 5, 6]");
}

}  // namespace
}  // namespace nn
}  // namespace norma
