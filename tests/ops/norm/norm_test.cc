// The normalization family: every grouping, source, activation and residual against the composed reference and finite
// differences. PyTorch's numbers and the corner cases are in norm_cases_test.cc.
#include "norma/ops/norm/norm.h"

#include "tests/ops/norm/norm_families.h"

namespace norma {
namespace {

using namespace norma::test;

std::vector<Shape> odd_shapes() {
  std::vector<Shape> shapes;
  for (int64_t n : {1, 2, 7, 33})
    for (int64_t c : {1, 3, 16, 30, 65})
      for (const Shape& space : {Shape{}, Shape{3, 3}, Shape{7, 7}, Shape{32, 32}}) {
        Shape shape{n};
        for (int64_t extent : space) shape.push_back(extent);
        shape.push_back(c);
        if (shape.numel() <= 300'000) shapes.push_back(shape);
      }
  return shapes;
}

// Forward and gradients of both, on the same values; f32 is compared with the reference in f64.
void compare(const Case& c, double forward, double backward) {
  Tensor upstream;
  std::vector<Tensor> gradients;
  const auto sweep = [&](bool fused, const std::vector<Tensor>& leaves, DType dtype) {
    for (const Tensor& leaf : leaves) leaf.set_grad({});
    Tape tape;
    const Tensor y = fused ? c.fused(leaves) : c.composed(leaves);
    if (!upstream.defined()) {
      Generator generator(5);
      upstream = randn(y.shape(), generator, f32);
    }
    // Behind another op, dy is the tape's own, and the rule may write over it (it may not over a seed, as in
    // gradcheck).
    tape.backward(fused ? y * 1 : y, {.seed = upstream.to(dtype).to(y.device())});
    return y.detach();
  };
  const Tensor y = sweep(true, c.leaves, c.dtype);
  for (const Tensor& leaf : c.leaves) gradients.push_back(leaf.grad());
  std::vector<Tensor> exact;
  for (const Tensor& leaf : c.leaves) exact.push_back(leaf.to(cpu_device).to(f64).clone().set_requires_grad());
  const Tensor want = sweep(false, exact, f64);
  EXPECT_TRUE(close(y.to(f64), want, forward)) << "forward";
  for (size_t i = 0; i < exact.size(); ++i) {
    const Tensor wanted = exact[i].grad().defined() ? exact[i].grad() : zeros_like(exact[i]);
    EXPECT_TRUE(close(gradients[i].to(f64), wanted, backward)) << "gradient " << i;
  }
}

TEST(Norm, AgreesWithTheComposedReferenceInF64) {
  const int cases = for_each_combination(odd_shapes(), 3, f64, [](const Case& c) { compare(c, 1e-12, 1e-12); });
  EXPECT_GT(cases, 700);
}

TEST(Norm, AgreesWithTheComposedReferenceInF32) {
  for_each_combination(odd_shapes(), 3, f32, [](const Case& c) { compare(c, 1e-6, 1e-5); });
}

// More sets than there are slots for sums over several of them.
TEST(Norm, ManyDomainsHaveParametersOfTheirOwn) {
  const int64_t n = 3 * 70;
  for (const Family& family : families(n, 3)) {
    if (!family.per_set) continue;
    Case c{{n, 2, 2, 3}, family, Statistics::Source::batch, Activation::none(), false, f64, {}};
    ASSERT_TRUE(c.feasible());
    c.make(1);
    compare(c, 1e-12, 1e-12);
  }
}

TEST(Norm, PassesGradcheck) {
  const std::vector<Shape> shapes = {{2, 3},       {7, 5},        {2, 3, 3, 4}, {7, 2, 1, 6},
                                     {3, 3, 2, 1}, {1, 3, 3, 15}, {6, 2, 2, 65}};
  for_each_combination(shapes, 2, f64, [](Case& c) {
    // Pre-activations stay 1e-4 away from the kink: draw until they do.
    for (uint64_t seed = 1; c.activation.kind != Activation::Kind::none; ++seed) {
      c.make(seed);
      Case plain = c;
      plain.options.activation = {};
      double nearest = 1;
      for (double v : plain.fused(c.leaves).to_vector<double>()) nearest = std::min(nearest, std::abs(v));
      if (nearest > 1e-4) break;
      ASSERT_LT(seed, 500u);
    }
    std::vector<Tensor> inputs = c.leaves;
    if (c.source == Statistics::Source::renorm) {  // r and d are constants of the gradient: not what differences see
      c.statistics = {c.source, c.statistics.mean, c.statistics.var, 1, 0};
    }
    const auto result =
        gradcheck([&](const auto& in) { return c.fused(in); }, inputs, {.max_elements = 64, .directions = 4});
    EXPECT_TRUE(result) << result.message;
  });
}

TEST(Norm, ManyInputsShareStatistics) {
  for (const Grouping& grouping : {whole(), chunks(2), instance(), groups(3), labels(random_ids(5, 2), 2)}) {
    SCOPED_TRACE(grouping.str());
    std::vector<Tensor> xs = {random({5, 4, 4, 6}, 1), random({5, 2, 2, 6}, 2), random({5, 1, 3, 6}, 3)};
    for (Tensor& x : xs) x.set_requires_grad();
    Tensor gamma = random({6}, 4).set_requires_grad(), beta = random({6}, 5).set_requires_grad();
    const auto sweep = [&](bool fused) {
      Tape tape;
      const NormOptions options{.activation = Activation::relu()};
      const auto ys =
          fused ? norm(xs, grouping, {}, gamma, beta, options) : reference_norm(xs, grouping, {}, gamma, beta, options);
      Tensor loss = there(scalar(0, f64));
      for (size_t i = 0; i < ys.size(); ++i) loss = loss + sum(ys[i] * random(ys[i].shape(), 20 + i));
      tape.backward(loss);
      std::vector<Tensor> result;
      for (const Tensor& y : ys) result.push_back(y.detach());
      for (Tensor* leaf : {&xs[0], &xs[1], &xs[2], &gamma, &beta}) {
        result.push_back(leaf->grad());
        leaf->set_grad({});
      }
      return result;
    };
    const auto got = sweep(true), want = sweep(false);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(close(got[i], want[i])) << i;
  }
}

TEST(Norm, BitsDoNotDependOnTheThreadCount) {
  const int before = num_threads();
  for (const Family& family : families(33, 30)) {
    SCOPED_TRACE(family.name);
    Case c{{33, 16, 16, 30}, family, Statistics::Source::batch, Activation::relu(), false, f32, {}};
    c.make(3);
    const auto run = [&](int threads) {
      set_num_threads(threads);
      for (const Tensor& leaf : c.leaves) leaf.set_grad({});
      Tape tape;
      const Tensor y = c.fused(c.leaves);
      tape.backward(y, {.seed = y.detach()});
      return std::vector<Tensor>{y.detach(), c.leaves[0].grad(), c.leaves[1].grad(), c.leaves[2].grad()};
    };
    const auto one = run(1), three = run(3);
    for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], three[i])) << i;
  }
  set_num_threads(before);
}

}  // namespace
}  // namespace norma
