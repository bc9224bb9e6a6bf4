// NormOptions::post_bias, what is added behind the activation: against the same norm without it and an addition, and by
// finite differences.
#include "norma/ops/norm/conv2d_norm.h"
#include "norma/ops/norm/norm_max_pool.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

// y and the gradients of the leaves, by a random upstream gradient.
std::vector<Tensor> sweep(const std::function<Tensor()>& f, const std::vector<Tensor>& leaves) {
  for (Tensor leaf : leaves) leaf.set_grad({});
  Tape tape;
  const Tensor y = f();
  Generator generator(7);
  tape.backward(y, {.seed = randn(y.shape(), generator, f32).to(y.dtype()).to(y.device())});
  std::vector<Tensor> all = {y.detach()};
  for (const Tensor& leaf : leaves) all.push_back(leaf.grad());
  return all;
}

Tensor leaf_of(const Shape& shape, uint64_t seed, DType dtype) {
  Tensor x = random(shape, seed).to(dtype);
  return x.set_requires_grad();
}

// Every way of sharing statistics, of rows that are sets, wide rows, rows of one position, and positions as channels.
std::vector<std::pair<Shape, Grouping>> all_cases() {
  const Grouping places = {Samples::whole(), Positions::each, Channels::each()};
  std::vector<std::pair<Shape, Grouping>> cases;
  for (const Shape& shape : {Shape{4, 3, 3, 6}, Shape{40, 2, 2, 16}, Shape{3, 5, 5, 70}})
    for (const Grouping& grouping : {whole(), chunks(2), instance(), groups(2), layer(), features(), places})
      if (!(grouping.positions == Positions::each && shape[0] == 3)) cases.emplace_back(shape, grouping);
  for (const Shape& shape : {Shape{6, 8}, Shape{300, 64}})
    for (const Grouping& grouping : {whole(), groups(2), features()}) cases.emplace_back(shape, grouping);
  const Tensor ids = tensor({2, 0, 0, 2}).to(i64);
  cases.emplace_back(Shape{4, 3, 3, 6}, labels(ids, 3));
  return cases;
}

TEST(NormPostBias, IsAddedBehindTheActivation) {
  const Activation activations[] = {Activation::none(), Activation::relu(), Activation::leaky_relu(0.2)};
  size_t turn = 0;
  for (const auto& [shape, grouping] : all_cases())
    for (DType dtype : {f32, f64})
      for (const bool adds : {false, true}) {
        const Activation& activation = activations[turn++ % 3];
        SCOPED_TRACE(fmt::format("{} {} {} {} {}", shape, grouping, dtype, adds, turn));
        const int64_t c = shape.back();
        const std::vector<Tensor> leaves = {leaf_of(shape, 1, dtype), leaf_of({c}, 2, dtype), leaf_of({c}, 3, dtype),
                                            leaf_of({c}, 4, dtype), leaf_of(shape, 5, dtype)};
        NormOptions options = {.activation = activation};
        if (adds) options.residual = {leaves[4]};
        const auto plain = [&] { return norm(leaves[0], grouping, {}, leaves[1], leaves[2], options) + leaves[3]; };
        const auto fused = [&] {
          NormOptions with = options;
          with.post_bias = leaves[3];
          return norm(leaves[0], grouping, {}, leaves[1], leaves[2], with);
        };
        const std::vector<Tensor> want = sweep(plain, leaves), got = sweep(fused, leaves);
        EXPECT_TRUE(same_bits(got[0], want[0]));
        for (size_t i = 1; i < (adds ? 6u : 5u); ++i)
          EXPECT_TRUE(close(got[i], want[i], dtype == f32 ? 1e-5 : 1e-12)) << "gradient " << i - 1;
      }
}

TEST(NormPostBias, PassesGradcheck) {
  for (const auto& [grouping, shape] :
       {std::pair(instance(), Shape{2, 2, 3, 3}), {whole(), Shape{4, 2, 3}}, {features(), Shape{3, 6}}}) {
    const auto result = gradcheck(
        [&, by = grouping](const std::vector<Tensor>& in) {
          return norm(in[0], by, {}, in[1], in[2],
                      {.activation = Activation::relu(), .residual = {in[4]}, .post_bias = in[3]});
        },
        {random(shape), random({shape.back()}, 2), random({shape.back()}, 3), random({shape.back()}, 4),
         random(shape, 5)});
    EXPECT_TRUE(result.ok) << result.message;
  }
}

// Those that take two norms, one in double, a pooling, or a convolution; and several inputs.
TEST(NormPostBias, StandsBehindWhateverWayTheNormTakes) {
  const Tensor x = random({4, 4, 4, 16}, 1).to(f32), bias = random({16}, 2).to(f32), own = random({4, 16}, 3).to(f32),
               mean = zeros({16}, f64, x.device()), var = ones({16}, f64, x.device());
  const NormOptions plain = {.activation = Activation::relu()};
  NormOptions with = plain;
  with.post_bias = bias;
  const auto compare = [&](const std::function<Tensor(const NormOptions&)>& f) {
    EXPECT_TRUE(same_bits(f(with), f(plain) + bias));
  };
  compare([&](const NormOptions& o) { return norm(x, whole(), {}, own, own, o); });
  compare([&](const NormOptions& o) { return norm(x, instance(), {}, own, {}, o); });
  compare([&](const NormOptions& o) { return norm(std::vector{x, x * 2}, whole(), {}, {}, {}, o)[1]; });
  compare([&](const NormOptions& o) { return norm_max_pool(x, whole(), {}, {}, {}, {.kernel = 2}, o); });
  // What float cannot square is added in double, too.
  EXPECT_TRUE(close(norm(x * 1e30, whole(), {}, {}, {}, with), norm(x * 1e30, whole(), {}, {}, {}, plain) + bias));
  const Tensor filters = random({16, 3, 3, 16}, 4).to(f32);
  for (const std::optional<Pair>& pool : {std::optional<Pair>(), std::optional<Pair>(2)})
    compare([&](const NormOptions& o) {
      return conv2d_norm(x, filters, {}, {.padding = 1}, whole(), Statistics::given(mean, var), {}, {}, o, pool);
    });
  {
    const Tape tape;
    Tensor alpha = full({16}, 0.3, f64, x.device());
    alpha.set_requires_grad();
    compare([&](const NormOptions& o) { return norm(x, whole(), Statistics::mixed(mean, var, alpha), {}, {}, o); });
    compare([&](const NormOptions& o) {
      NormOptions linear = o;
      linear.activation = {};
      return norm(x, whole(), Statistics::mixed(mean, var, alpha), {}, {}, linear);
    });
  }
  EXPECT_EQ(norm(zeros({0, 2, 16}, f32, x.device()), whole(), Statistics::given(mean, var), {}, {}, with).shape(),
            (Shape{0, 2, 16}));
}

TEST(NormPostBias, RejectsBadInput) {
  const Tensor x = random({4, 2, 6}).to(f32);
  const auto by = [&](const Tensor& bias, NormOptions options = {}) {
    options.post_bias = bias;
    norm(x, instance(), {}, {}, {}, options);
  };
  for (const Shape& shape : {Shape{5}, Shape{}, Shape{1}, Shape{4, 6}})
    expect_error([&] { by(random(shape).to(f32)); },
                 fmt::format("[norm] a post_bias of shape {} for 6 channels", shape));
  expect_error([&] { by(random({6}).to(f32), {.normalized_channels = 3}); }, "wants all channels normalized");
  expect_error([&] { by(random({6})); }, "[norm] dtypes differ");
}

}  // namespace
}  // namespace norma
