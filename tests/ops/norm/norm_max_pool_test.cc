// Norm with a max-pooling behind it: against the two ops, which it promises to equal to the bit, for the whole family.
#include "norma/ops/norm/norm_max_pool.h"

#include <thread>

#include "norma/core/workers.h"
#include "tests/ops/norm/norm_families.h"

namespace norma {
namespace {

using namespace norma::test;

struct Swept {
  Tensor y;
  std::vector<Tensor> gradients;
  size_t entries;  // on the tape
};

// y, and under a random upstream gradient those of the leaves.
Swept sweep(const std::vector<Tensor>& leaves, const std::function<Tensor()>& f) {
  for (const Tensor& leaf : leaves) leaf.set_grad({});
  Tape tape;
  const Tensor y = f();
  Swept result{y.detach(), {}, tape.entries().size()};
  tape.backward(y, {.seed = random(y.shape(), 5).to(y.dtype())});
  for (const Tensor& leaf : leaves) result.gradients.push_back(leaf.grad());
  return result;
}

Tensor fused(const Case& c, const Pool2dOptions& pool, const std::vector<Tensor>& in) {
  return norm_max_pool(in[0], c.family.grouping, c.statistics, in[1], in[2], pool, c.with_residual(in));
}
Tensor composed(const Case& c, const Pool2dOptions& pool, const std::vector<Tensor>& in) {
  return max_pool2d(c.fused(in), pool);
}

// Returns whether it was one op.
bool compare(const Case& c, const Pool2dOptions& pool) {
  const Swept got = sweep(c.leaves, [&] { return fused(c, pool, c.leaves); });
  const Swept want = sweep(c.leaves, [&] { return composed(c, pool, c.leaves); });
  EXPECT_TRUE(same_bits(got.y, want.y));
  EXPECT_TRUE(same_bits(fused(c, pool, c.leaves), want.y)) << "without a tape";
  for (size_t i = 0; i < want.gradients.size(); ++i)
    EXPECT_TRUE(close(got.gradients[i], want.gradients[i], c.dtype == f64 ? 1e-12 : 1e-6)) << "gradient " << i;
  return got.entries == 1;
}

std::vector<Shape> images() {
  std::vector<Shape> shapes;
  for (int64_t c : {1, 3, 15, 16, 17, 48, 64})
    for (int64_t h = 1; h <= 7; ++h)
      for (int64_t w = 1; w <= 7; ++w) shapes.push_back({1 + (3 * h + w + c) % 7, h, w, c});
  shapes.push_back({19, 40, 30, 33});  // several blocks, and sets done in one go
  return shapes;
}

TEST(NormMaxPool, EqualsTheTwoOps) {
  const std::vector<Pair> kernels = {2, 3, {2, 3}, {3, 2}, 1, {7, 1}};
  for (DType dtype : {f32, f64}) {
    size_t turn = 0;
    int one_op = 0;
    for_each_combination(images(), 6, dtype, [&](const Case& c) {
      Pair kernel = kernels[turn++ % kernels.size()];
      kernel = {std::min(kernel.h, c.shape[1]), std::min(kernel.w, c.shape[2])};
      SCOPED_TRACE(fmt::format("kernel {} x {}", kernel.h, kernel.w));
      const bool one = compare(c, {.kernel = kernel});
      one_op += one;
      const bool row_sets = c.family.grouping.positions == Positions::each ||
                            (!c.family.grouping.over_samples() && c.shape[1] * c.shape[2] == 1);
      EXPECT_TRUE(one || c.residual || row_sets || c.shape[3] < 16);
    });
    EXPECT_GT(one_op, 200);
  }
}

// x of few different values, so that most windows have several winners; and activations that make more.
TEST(NormMaxPool, TheFirstOfEqualsTakesTheGradient) {
  for (const Activation& activation : {Activation::none(), Activation::relu(), Activation::leaky_relu(-0.5)}) {
    Case c{{5, 6, 6, 20}, {"", whole()}, Statistics::Source::given, activation, false, f32, {}};
    c.make(1);
    Generator generator(2);
    Tensor x(c.shape);
    for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<float>()[i] = static_cast<float>(generator.below(3)) - 1;
    c.leaves[0] = there(x).set_requires_grad();
    EXPECT_TRUE(compare(c, {.kernel = 3}));
    EXPECT_TRUE(compare(c, {.kernel = 2}));
  }
}

TEST(NormMaxPool, NaNWins) {
  for (const Activation& activation : {Activation::none(), Activation::relu(), Activation::leaky_relu()})
    for (Pair kernel : {2, 3})
      for (int64_t places = 1; places < 1 << (kernel.h * kernel.w); ++places) {
        Tensor x({1, kernel.h, kernel.w, 16});
        for (int64_t i = 0; i < x.numel(); ++i)
          x.mutable_data<float>()[i] = places >> (i / 16) & 1 ? NAN : static_cast<float>(i % 7) - 3;
        x = there(x).set_requires_grad();
        const Statistics given = Statistics::given(there(zeros({16})), there(ones({16})));
        const auto f = [&] {
          return norm_max_pool(x, whole(), given, {}, {}, {.kernel = kernel}, {.activation = activation});
        };
        const auto g = [&] {
          return max_pool2d(norm(x, whole(), given, {}, {}, {.activation = activation}), {.kernel = kernel});
        };
        const Swept got = sweep({x}, f), want = sweep({x}, g);
        ASSERT_TRUE(std::isnan(want.y.at({0, 0, 0, 0})));
        ASSERT_TRUE(close(got.y, want.y) && close(f(), want.y)) << places;
        ASSERT_TRUE(close(got.gradients[0], want.gradients[0])) << places;
      }
}

TEST(NormMaxPool, PassesGradcheck) {
  const std::vector<Shape> shapes = {{3, 4, 4, 8}, {4, 5, 3, 9}, {2, 2, 7, 12}};
  for_each_combination(shapes, 1, f64, [](Case& c) {
    if (c.residual || c.family.grouping.positions == Positions::each) return;  // made of ops that have been checked
    for (uint64_t seed = 1; c.activation.kind != Activation::Kind::none; ++seed) {  // until all are far from the kink
      c.make(seed);
      Case plain = c;
      plain.options.activation = {};
      double nearest = 1;
      for (double v : plain.fused(c.leaves).to_vector<double>()) nearest = std::min(nearest, std::abs(v));
      if (nearest > 1e-4) break;
      ASSERT_LT(seed, 500u);
    }
    if (c.source == Statistics::Source::renorm) c.statistics = {c.source, c.statistics.mean, c.statistics.var, 1, 0};
    const auto result = gradcheck([&](const auto& in) { return fused(c, {.kernel = 2}, in); }, c.leaves,
                                  {.max_elements = 32, .directions = 4});
    EXPECT_TRUE(result) << result.message;
  });
}

TEST(NormMaxPool, IsMadeOfTheTwoOpsWhereItCannotBeOne) {
  Case c{{3, 6, 6, 16}, {"", whole()}, Statistics::Source::batch, Activation::relu(), false, f32, {}};
  c.make(1);
  EXPECT_TRUE(compare(c, {.kernel = 2, .stride = 2, .padding = 0}));
  EXPECT_FALSE(compare(c, {.kernel = 2, .stride = 1}));
  EXPECT_FALSE(compare(c, {.kernel = 2, .stride = 3}));
  EXPECT_FALSE(compare(c, {.kernel = 3, .stride = 3, .padding = 1}));
  c.family.grouping = features();
  EXPECT_FALSE(compare(c, {.kernel = 2}));
  Case large{{2, 17, 17, 16}, {"", whole()}, Statistics::Source::batch, {}, false, f32, {}};
  large.make(2);
  EXPECT_FALSE(compare(large, {.kernel = 17}));
  EXPECT_TRUE(compare(large, {.kernel = 16}));
  Case high{{2, 257, 1, 16}, {"", whole()}, Statistics::Source::batch, {}, false, f32, {}};  // places that fill a byte
  high.make(3);
  EXPECT_FALSE(compare(high, {.kernel = {257, 1}}));
  EXPECT_TRUE(compare(high, {.kernel = {256, 1}}));
}

TEST(NormMaxPool, GivesMomentsAndOnlyTheGradientsThatAreWanted) {
  Tensor x = random({4, 5, 5, 8}), gamma = random({8}, 2), beta = random({8}, 3);
  Moments moments;
  norm_max_pool(x, chunks(2), {}, gamma, beta, {.kernel = 2}, {.moments = &moments});
  EXPECT_TRUE(close(moments.mean, norma::moments(x, chunks(2)).mean));
  EXPECT_TRUE(close(moments.m2, norma::moments(x, chunks(2)).m2));
  const auto run = [&](const std::vector<Tensor>& leaves) {
    return sweep(leaves, [&] { return norm_max_pool(x, whole(), {}, gamma, beta, {.kernel = 2}); }).gradients;
  };
  beta.set_requires_grad();
  const auto of_beta = run({x, gamma, beta});
  EXPECT_FALSE(of_beta[0].defined() || of_beta[1].defined());
  x.set_requires_grad();
  const auto of_both = run({x, gamma, beta});
  EXPECT_FALSE(of_both[1].defined());
  EXPECT_TRUE(same_bits(of_beta[2], of_both[2]));
}

TEST(NormMaxPool, EmptyBatches) {
  for (const Grouping& grouping : {whole(), chunks(2), instance(), features(), labels(zeros({0}, i64), 2)}) {
    Tensor x = there(zeros({0, 4, 4, 16})).set_requires_grad(), gamma = there(ones({16})).set_requires_grad();
    const Swept got = sweep({x, gamma}, [&] { return norm_max_pool(x, grouping, {}, gamma, {}, {.kernel = 2}); });
    EXPECT_EQ(got.y.shape(), (Shape{0, 2, 2, 16}));
    EXPECT_EQ(got.gradients[0].shape(), x.shape());
    EXPECT_TRUE(same_bits(got.gradients[1], zeros({16})));
  }
}

TEST(NormMaxPool, AcrossWorkersEqualsOneLargeBatch) {
  const Tensor x = random({7, 4, 5, 8}), upstream = random({7, 2, 2, 8}, 2);
  const auto run = [&](const Grouping& grouping, int64_t begin, int64_t end) {
    Tensor part = view::slice(x, 0, begin, end).clone().set_requires_grad();
    Tape tape;
    const Tensor y = norm_max_pool(part, grouping, {}, {}, {}, {.kernel = 2}, {.activation = Activation::relu()});
    tape.backward(y, {.seed = view::slice(upstream, 0, begin, end).clone()});
    return std::vector<Tensor>{y.detach(), part.grad()};
  };
  const std::vector<Tensor> want = run(whole(), 0, 7);
  const std::vector<int64_t> bounds = {0, 4, 4, 7};  // the second worker has nothing
  std::vector<std::vector<Tensor>> got(3);
  run_workers({.count = 3}, [&](Communicator& me) {
    const size_t i = static_cast<size_t>(me.rank());
    got[i] = run(across(me), bounds[i], bounds[i + 1]);
  });
  for (size_t i = 0; i < 3; ++i)
    for (size_t k = 0; k < 2; ++k) EXPECT_TRUE(close(got[i][k], view::slice(want[k], 0, bounds[i], bounds[i + 1])));
}

TEST(NormMaxPoolThreads, BitsDoNotDependOnTheThreadCount) {
  const int before = num_threads();
  for (const Family& family : families(33, 30)) {
    SCOPED_TRACE(family.name);
    Case c{{33, 17, 16, 30}, family, Statistics::Source::batch, Activation::relu(), false, f32, {}};
    c.make(3);
    const auto run = [&](int threads) {
      set_num_threads(threads);
      return sweep(c.leaves, [&] { return fused(c, {.kernel = 2}, c.leaves); });
    };
    const Swept one = run(1), three = run(3);
    EXPECT_TRUE(same_bits(one.y, three.y));
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(one.gradients[i], three.gradients[i])) << i;
  }
  set_num_threads(before);
}

TEST(NormMaxPool, RejectsBadInput) {
  const Tensor x = random({4, 5, 3, 8});
  const auto call = [](const Tensor& in, const Pool2dOptions& pool, const Tensor& gamma = {}) {
    norm_max_pool(in, whole(), {}, gamma, {}, pool);
  };
  expect_error(
      [&] {
        call(random({4, 8}), {.kernel = 2});
      },
      "[norm_max_pool] wants [N, H, W, C] with pixels: shape [4, 8]");
  expect_error([&] { call(x, {.kernel = 4}); },
               "[norm_max_pool] kernel [4, 4] is larger than input [4, 5, 3, 8] padded by [0, 0]");
  expect_error([&] { call(x, {.kernel = 2}, random({7})); }, "[norm_max_pool] gamma of shape [7] for 8 channels");
  expect_error([&] { call(random({1, 1, 1, 8}), {.kernel = 1}); }, "holds a single element");
  expect_error([&] { call(x, {.kernel = 2, .stride = 1}, random({7})); }, "[norm] gamma of shape [7] for 8 channels");
}

}  // namespace
}  // namespace norma
