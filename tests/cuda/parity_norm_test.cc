// Norms on CUDA against the CPU: groupings, sources of statistics, activations.
#include "norma/ops/norm/norm_max_pool.h"
#include "norma/ops/norm/plan.h"
#include "tests/cuda/parity.h"

namespace norma {
namespace {

using namespace norma::test;

struct NormCase {
  std::string name;
  Grouping grouping;
  bool center = true;
  int64_t normalized_channels = -1, sets = 0;  // sets: of gamma and beta
};

TEST_F(Parity, Norm) {
  const Tensor ids = tensor<int64_t>({2, 0, 2, 1, 0, 2, 4});  // nobody has label 3
  const std::vector<NormCase> cases = {{"batch", whole()},
                                       {"ghost", chunks(3)},
                                       {"domains", labels(ids, 5)},
                                       {"domains, own affine", labels(ids, 5), true, -1, 5},
                                       {"group", groups(3)},
                                       {"layer", layer()},
                                       {"features", features()},
                                       {"instance", instance()},
                                       {"half instance", instance(), true, 5},
                                       {"batch group", {Samples::whole(), Positions::all, Channels::groups(3)}},
                                       {"position by position", {Samples::whole(), Positions::each, Channels::each()}},
                                       {"feature groups", {Samples::each(), Positions::each, Channels::groups(3)}},
                                       {"rms", features(), false},
                                       {"rms over the sample", layer(), false}};
  for (const NormCase& c : cases) {
    for (const Shape& shape : {Shape{7, 5, 4, 9}, Shape{7, 65, 42}}) {
      for (auto source : {Statistics::Source::batch, Statistics::Source::given, Statistics::Source::renorm}) {
        if (!c.center && source == Statistics::Source::renorm) continue;
        for (const Activation& activation : {Activation::none(), Activation::relu(), Activation::leaky_relu(0.2)}) {
          const bool residual = activation.kind != Activation::Kind::none, large = shape.rank() == 3;
          if (large && source != Statistics::Source::batch) continue;
          const int64_t channels = shape.back(), affine = c.normalized_channels >= 0 ? c.normalized_channels : channels;
          const NormPlan plan =
              plan_norm("norm", c.grouping, std::vector<Tensor>{Tensor(shape)}, c.normalized_channels);
          Inputs in = {random(shape), random(c.sets > 0 ? Shape{c.sets, affine} : Shape{affine}, 2),
                       random(c.sets > 0 ? Shape{c.sets, affine} : Shape{affine}, 3)};
          if (residual) in.push_back(random(shape, 4));
          expect_parity(
              fmt::format("{} {} source {} activation {}", c.name, shape, static_cast<int>(source),
                          static_cast<int>(activation.kind)),
              [&](const Inputs& x) {
                const Tensor mean = random({plan.groups}, 5).to(x[0].device()),
                             var = positive({plan.groups}).to(x[0].device());
                NormOptions o = {.eps = 1e-3,
                                 .activation = activation,
                                 .center = c.center,
                                 .normalized_channels = c.normalized_channels};
                if (residual) o.residual = {x[3]};
                return norm(x[0], c.grouping, {source, mean, var, 1.2, 0.3}, x[1], x[2], o);
              },
              in, 2e-5);
        }
      }
    }
  }
}

TEST_F(Parity, NormOfSeveralInputsAndMoments) {
  expect_parity(
      "pyramid",
      [](const Inputs& in) {
        const auto ys = norm({in[0], in[1]}, chunks(2), {}, in[2], in[3], {});
        return concat({flatten(ys[0]), flatten(ys[1])}, 1);
      },
      {random({5, 7, 3, 6}), random({5, 2, 3, 6}, 2), random({6}, 3), random({6}, 4)}, 1e-5);
  for (const Grouping& grouping : {whole(), groups(3), features()}) {
    const Tensor x = random({5, 7, 6}) + 1e4;
    const Moments want = moments(x, grouping), got = moments(x.to(kCuda), grouping);
    EXPECT_TRUE(close(got.count, want.count));
    EXPECT_TRUE(close(got.mean, want.mean));
    EXPECT_TRUE(close(got.m2, want.m2, 1e-9));
  }
}

TEST_F(Parity, RowsThatAreLongForAThread) {  // which sums them in runs
  for (const Grouping& grouping : {features(), groups(2)})
    for (const bool center : {true, false})
      expect_parity(
          grouping.str(),
          [&](const Inputs& x) {
            return norm(x[0], grouping, {}, x[1], x[2], {.activation = Activation::leaky_relu(0.2), .center = center});
          },
          {random({3, 1250}) + 3., random({1250}, 2), random({1250}, 3)}, 2e-5);
}

TEST_F(Parity, NormAndMaxPoolInOneAreBoth) {
  const auto run = [](bool in_one, DType dtype, const Shape& shape, const Grouping& grouping, Pair kernel, bool nan) {
    Tensor x = random(shape).to(dtype);
    if (nan) x.copy_from(where(gt(x, 2.5), full({}, NAN, dtype), x));
    Inputs in = {x.to(kCuda)};
    for (const uint64_t seed : {2, 3}) in.push_back(random({shape[3]}, seed).to(dtype).to(kCuda));
    for (Tensor& leaf : in) leaf.set_requires_grad();
    const NormOptions options = {.activation = Activation::leaky_relu(0.3)};
    Tape tape;
    const Tensor y = in_one ? norm_max_pool(in[0], grouping, {}, in[1], in[2], {.kernel = kernel}, options)
                            : max_pool2d(norm(in[0], grouping, {}, in[1], in[2], options), {.kernel = kernel});
    EXPECT_EQ(tape.entries().size(), in_one ? 1 : 2);
    tape.backward(y, {.seed = random(y.shape(), 5).to(dtype).to(kCuda)});
    return Inputs{y.detach(), in[0].grad(), in[1].grad(), in[2].grad()};
  };
  for (const DType dtype : {f32, f64})
    for (const Shape& shape : {Shape{6, 7, 9, 16}, Shape{5, 4, 6, 33}, Shape{2, 16, 16, 20}, Shape{9, 1, 8, 64}})
      for (const Grouping& grouping : {whole(), chunks(4), instance(), layer(), groups(shape[3] % 2 == 0 ? 4 : 3)})
        for (const Pair kernel : {Pair(2, 2), Pair(3, 2), Pair(1, 4), Pair(4, 1)})
          for (const bool nan : {false, true}) {
            if (kernel.h > shape[1] || (nan && dtype == f64)) continue;
            const Inputs got = run(true, dtype, shape, grouping, kernel, nan),
                         want = run(false, dtype, shape, grouping, kernel, nan);
            for (size_t i = 0; i < got.size(); ++i)
              EXPECT_TRUE(i == 0 ? same_bits(got[i].to(cpu_device), want[i].to(cpu_device))
                                 : close(got[i], want[i], 1e-9))
                  << i << " " << shape.str() << " " << grouping.str() << " kernel " << kernel.h << " x " << kernel.w;
          }
}

TEST_F(Parity, LargeMeansKeepTheirDigits) {
  const Tensor x = (random({64, 5, 5, 7}) * 0.01 + 1e4).to(f32), exact = x.to(f64);
  for (const Grouping& grouping : {whole(), chunks(8), instance(), layer(), features()}) {
    const Tensor want = norm(exact, grouping, {}, {}, {}, {.eps = 0}),
                 got = norm(x.to(kCuda), grouping, {}, {}, {}, {.eps = 0});
    EXPECT_TRUE(close(got.to(f64), want, 1e-4)) << grouping.str();
    EXPECT_TRUE(close(moments(x.to(kCuda), grouping).m2, moments(exact, grouping).m2, 1e-5)) << grouping.str();
    const auto dx = [&](Tensor from) {
      from.set_requires_grad();
      Tape tape;
      const Tensor y = norm(from, grouping, {}, {}, {}, {.eps = 0});
      tape.backward(y, {.seed = random(x.shape(), 5).to(from.dtype()).to(from.device())});
      return from.grad().to(cpu_device).to(f64) * 0.01;
    };
    EXPECT_TRUE(close(dx(x.to(kCuda)), dx(exact.clone()), 1e-4)) << grouping.str();
  }
}

}  // namespace
}  // namespace norma
