// What the recipes of cifar are made of: eigenvectors, whitening filters, filters that begin as the identity, what is
// frozen, Muon for filters, Lookahead, learning rates by parameter.
#include "examples/cifar/airbench.h"

#include "examples/cifar/lookahead.h"
#include "examples/cifar/models.h"
#include "examples/cifar/rules.h"
#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::test;
using Values = std::vector<double>;

Values normal(int64_t n, uint64_t seed) {
  Generator generator(seed);
  return randn({n}, generator).to_vector<double>();
}

// A v = lambda v for each of them, the largest lambda first, and vectors of length 1 at right angles.
void expect_eigen(const Values& a, int64_t n, const Eigen& eigen, double tolerance) {
  ASSERT_EQ(std::ssize(eigen.values), n);
  ASSERT_EQ(std::ssize(eigen.vectors), n * n);
  const auto v = [&](int64_t k, int64_t i) { return eigen.vectors[static_cast<size_t>(k * n + i)]; };
  for (int64_t k = 0; k < n; ++k) {
    const double lambda = eigen.values[static_cast<size_t>(k)];
    EXPECT_TRUE(k == 0 || lambda <= eigen.values[static_cast<size_t>(k - 1)]) << k;
    for (int64_t i = 0; i < n; ++i) {
      double product = 0, dot = 0;
      for (int64_t j = 0; j < n; ++j) {
        product += a[static_cast<size_t>(i * n + j)] * v(k, j);
        dot += v(k, j) * v(i, j);
      }
      EXPECT_NEAR(product, lambda * v(k, i), tolerance) << k << ", " << i;
      EXPECT_NEAR(dot, i == k, 1e-13) << k << ", " << i;
    }
  }
}

TEST(SymmetricEigen, FindsTheVectorsOfAKnownMatrix) {
  // 2 on the diagonal, -1 beside it: of value 2 - 2 cos(k pi / (n + 1)) is the vector sin(j k pi / (n + 1)), k from 1.
  constexpr int64_t n = 12;
  Values a(n * n, 0);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) a[static_cast<size_t>(i * n + j)] = i == j ? 2 : std::abs(i - j) == 1 ? -1 : 0;
  const Eigen eigen = symmetric_eigen(a, n);
  expect_eigen(a, n, eigen, 1e-13);
  for (int64_t place = 0; place < n; ++place) {
    const double angle = static_cast<double>(n - place) * std::acos(-1) / (n + 1);
    EXPECT_NEAR(eigen.values[static_cast<size_t>(place)], 2 - 2 * std::cos(angle), 1e-13);
    double dot = 0;
    for (int64_t j = 0; j < n; ++j)
      dot += eigen.vectors[static_cast<size_t>(place * n + j)] * std::sin(static_cast<double>(j + 1) * angle);
    EXPECT_NEAR(std::abs(dot) * std::sqrt(2.0 / (n + 1)), 1, 1e-12);
  }
}

TEST(SymmetricEigen, HoldsForAnySymmetricMatrix) {
  for (const int64_t n : {1, 2, 5, 12, 27}) {
    SCOPED_TRACE(n);
    const Values drawn = normal(n * n, 7);
    Values a(drawn.size()), product(drawn.size(), 0);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const auto at = [&](int64_t r, int64_t c) { return drawn[static_cast<size_t>(r * n + c)]; };
        a[static_cast<size_t>(i * n + j)] = at(i, j) + at(j, i);
        for (int64_t k = 0; k < n; ++k) product[static_cast<size_t>(i * n + j)] += at(i, k) * at(j, k);
      }
    expect_eigen(a, n, symmetric_eigen(a, n), 1e-12 * static_cast<double>(n));  // values of both signs
    expect_eigen(product, n, symmetric_eigen(product, n), 1e-12 * static_cast<double>(n));
  }
  expect_eigen({0, 0, 0, 0}, 2, symmetric_eigen({0, 0, 0, 0}, 2), 0);
  expect_eigen({3, 0, 0, 0, 3, 0, 0, 0, 3}, 3, symmetric_eigen({3, 0, 0, 0, 3, 0, 0, 0, 3}, 3), 0);
  const Values tiny = {1e-200, 2e-200, 2e-200, 1e-200}, one = {1, 1, 1, 1};  // a single direction: the value 0 is twice
  expect_eigen(one, 2, symmetric_eigen(one, 2), 1e-15);
  expect_error([] { symmetric_eigen({1, 2, 3}, 2); }, "[symmetric_eigen] 3 elements for a matrix of 2 rows");
}

// Smooth pictures [N, size, size, colours]: neighbouring pixels and colours go together.
Tensor pictures(int64_t count, int64_t size, int64_t colours, uint64_t seed) {
  const Tensor x({count, size, size, colours}, u8);
  Generator generator(seed);
  const Values light = randn({count, 3}, generator).to_vector<double>();
  const Values noise = randn(x.shape(), generator).to_vector<double>();
  for (int64_t i = 0; i < x.numel(); ++i) {
    const int64_t c = i % colours, w = i / colours % size, h = i / colours / size % size,
                  n = i / (colours * size * size);
    const double* l = &light[static_cast<size_t>(3 * n)];
    const double pixel = 120 + 40 * l[0] + static_cast<double>(h) * 8 * l[1] + static_cast<double>(w) * 5 * l[2] +
                         10 * static_cast<double>(c) + 6 * noise[static_cast<size_t>(i)];
    x.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(std::clamp(pixel, 0.0, 255.0));
  }
  return x;
}

TEST(WhiteningFilters, MakeThePatchesUncorrelated) {
  const Tensor images = pictures(40, 8, 3, 1);
  const data::ChannelStats stats = data::channel_stats(images);
  constexpr int64_t half = 12;
  const auto moments = [&](const Tensor& filters) {  // of what the first half says, [half, half]
    const Tensor y = conv2d(data::to_float(images, stats), filters, {});
    EXPECT_EQ(y.shape(), Shape({40, 7, 7, 2 * half}));
    const Tensor all = view::reshape(y, {-1, 2 * half});
    EXPECT_TRUE(same_bits(view::slice(all, 1, 0, half).contiguous(), neg(view::slice(all, 1, half, 2 * half))));
    const Tensor first = view::slice(all, 1, 0, half).to(f64);
    return matmul(view::permute(first, {1, 0}), first) / static_cast<double>(first.dim(0));
  };
  const Tensor filters = whitening_filters(images, stats, 2, 0), exact = moments(filters);
  const Tensor damped = moments(whitening_filters(images, stats));
  double before = 1e9;
  for (int64_t i = 0; i < half; ++i) {
    // eps keeps directions in which there is nearly nothing from being blown up. The largest come first.
    const double eigenvalue = 1 / sum(square(view::slice(filters, 0, i, i + 1).to(f64))).item();
    EXPECT_LE(eigenvalue, before);
    before = eigenvalue;
    for (int64_t j = 0; j < half; ++j) {
      EXPECT_NEAR(exact.at({i, j}), i == j, 1e-4) << i << ", " << j;
      EXPECT_NEAR(damped.at({i, j}), i == j ? eigenvalue / (eigenvalue + 5e-4) : 0, 1e-4) << i << ", " << j;
    }
  }
}

TEST(WhiteningFilters, AreMadeFromTheFirst5000PicturesOfAnySize) {
  const Tensor first = pictures(5000, 3, 1, 2), more = pictures(10, 3, 1, 3);
  const data::ChannelStats stats{{0.4}, {0.2}};
  EXPECT_TRUE(same_bits(whitening_filters(concat({first, more}, 0), stats), whitening_filters(first, stats)));
  EXPECT_FALSE(same_bits(whitening_filters(concat({more, first}, 0), stats), whitening_filters(first, stats)));
  EXPECT_EQ(whitening_filters(first, stats, 3).shape(), Shape({18, 3, 3, 1}));
  expect_error([&] { whitening_filters(first, stats, 4); },
               "[whitening_filters] patches of 4 x 4 pixels of [5000, 3, 3, 1]");
  const Tensor black({3, 2, 2, 1}, u8);
  black.fill(0);
  EXPECT_TRUE(all(isfinite(whitening_filters(black, {{0.0}, {1.0}}))).item() != 0);  // no direction at all
}

TEST(BeginAsIdentity, PassesTheFirstChannelsOn) {
  Generator generator(4);
  const Tensor x = randn({2, 6, 5, 3}, generator);
  for (const int64_t out : {2, 3, 7}) {
    SCOPED_TRACE(out);
    for (const int64_t size : {1, 3, 5}) {
      const Tensor weight = randn({out, size, size, 3}, generator), before = weight.clone();
      begin_as_identity(weight);
      const Tensor y = conv2d(x, weight, {}, {.padding = size / 2, .algorithm = ConvAlgorithm::direct});
      const int64_t same = std::min<int64_t>(out, 3);
      EXPECT_TRUE(same_bits(view::slice(y, 3, 0, same), view::slice(x, 3, 0, same)));
      EXPECT_TRUE(same_bits(view::slice(weight, 0, same, out), view::slice(before, 0, same, out)));
    }
  }
}

struct TinyAirbench {
  Airbench net{{8, 12, 12}, 10, [](int64_t channels) { return nn::Norm(nn::BatchNorm(channels)); }, 3};
  Tensor images, labels;
  NamedTensors before;
  TinyAirbench() {
    Generator generator(5);
    images = randn({6, 32, 32, 3}, generator);
    labels = tensor<int64_t>({1, 0, 3, 9, 3, 2});
    for (const auto& [name, p] : net.named_parameters()) before.emplace_back(name, p.detach().clone());
  }
  void train(const RuleOptions& options, int64_t steps, int64_t per_epoch) {
    Rules rules(net, options, steps, per_epoch);
    for (int64_t step = 0; step < steps; ++step) {
      rules.begin(step);
      Tape tape;
      tape.backward(cross_entropy(net(images), labels));
      rules.end(step);
      if (step == 0) first_bias = net.whiten.bias.detach().clone();
    }
  }
  Tensor first_bias;
};

TEST(Airbench, BeginsAsIsSaidAndTrainsWhatIsNotFrozen) {
  for (const std::string optimizer : {"sgd", "muon"}) {
    SCOPED_TRACE(optimizer);
    TinyAirbench tiny;
    const auto& group = tiny.net.groups[1];
    EXPECT_EQ(group.conv1.weight.at({5, 1, 1, 5}), 1);  // of 8 channels
    EXPECT_EQ(group.conv1.weight.at({5, 1, 0, 5}), 0);
    EXPECT_EQ(group.norm2.eps, 1e-12);
    tiny.train({.lr = 0.02, .optimizer = optimizer, .bias_lr = 4, .stem_epochs = 1}, 4, 1);
    const NamedTensors after = tiny.net.named_parameters();
    for (size_t i = 0; i < after.size(); ++i) {
      const auto& [name, p] = after[i];
      const bool frozen =
          name == "whiten.weight" || (name.find("norm") != std::string::npos && name.ends_with("weight"));
      EXPECT_EQ(static_cast<bool>(same_bits(p.detach(), tiny.before[i].second)), frozen) << name;
      EXPECT_EQ(p.requires_grad(), !frozen && name != "whiten.bias") << name;
    }
    EXPECT_FALSE(same_bits(tiny.first_bias, zeros({24})));                   // trained for one epoch of one step,
    EXPECT_TRUE(same_bits(tiny.net.whiten.bias.detach(), tiny.first_bias));  // and then no more
  }
  TinyAirbench tiny;
  expect_error(
      [&] {
        tiny.net(zeros({1, 64, 64, 3}));
      },
      "[Airbench] [1, 64, 64, 3]: want pictures of about 32 x 32 pixels");
}

// FilterMuon's formula for filters [O, ...] of F elements each, in plain loops.
struct PlainFilterMuon {
  int64_t o, f;
  Values p, v = Values(p.size(), 0);

  static Values product(const Values& a, const Values& b, int64_t rows, int64_t inner, int64_t columns) {
    Values c(static_cast<size_t>(rows * columns), 0);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        for (int64_t k = 0; k < inner; ++k)
          c[static_cast<size_t>(i * columns + j)] +=
              a[static_cast<size_t>(i * inner + k)] * b[static_cast<size_t>(k * columns + j)];
    return c;
  }
  static Values transposed(const Values& a, int64_t rows, int64_t columns) {
    Values b(a.size());
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        b[static_cast<size_t>(j * rows + i)] = a[static_cast<size_t>(i * columns + j)];
    return b;
  }
  static double length(const Values& a) { return std::sqrt(std::inner_product(a.begin(), a.end(), a.begin(), 0.0)); }

  void step(const Values& g, double lr, double momentum) {
    Values u(p.size());
    for (size_t i = 0; i < p.size(); ++i) {
      v[i] = momentum * v[i] + g[i];
      u[i] = g[i] + momentum * v[i];
    }
    const bool tall = o > f;
    const int64_t m = std::min(o, f), n = std::max(o, f);
    Values x = tall ? transposed(u, o, f) : u;  // [m, n]
    const double size = length(x) + 1e-7;
    for (double& value : x) value /= size;
    for (int i = 0; i < 3; ++i) {
      const Values a = product(x, transposed(x, m, n), m, n, m), aa = product(a, a, m, m, m);
      Values b(a.size());
      for (size_t k = 0; k < b.size(); ++k) b[k] = -4.7750 * a[k] + 2.0315 * aa[k];
      const Values bx = product(b, x, m, m, n);
      for (size_t k = 0; k < x.size(); ++k) x[k] = 3.4445 * x[k] + bx[k];
    }
    if (tall) x = transposed(x, f, o);
    const double scale = std::sqrt(static_cast<double>(o)) / length(p);
    for (size_t i = 0; i < p.size(); ++i) p[i] = p[i] * scale - lr * x[i];
  }
};

TEST(FilterMuon, FollowsItsFormula) {
  for (const Shape& shape : {Shape{4, 3, 3, 2}, Shape{20, 1, 3, 3}, Shape{9, 3, 3, 1}})
    for (const DType dtype : {f64, f32}) {
      SCOPED_TRACE(fmt::format("{} {}", shape, dtype));
      Generator generator(6);
      Tensor p = randn(shape, generator).to(dtype).clone();
      p.set_requires_grad();
      PlainFilterMuon plain{shape[0], shape.numel() / shape[0], p.to_vector<double>()};
      FilterMuon muon(NamedTensors{{"p", p}}, {.lr = 0.3, .momentum = 0.7});
      for (int step = 0; step < 4; ++step) {
        const Tensor g = randn(shape, generator) * (step == 2 ? 1e-5 : 1);  // its size is of no account but in v
        p.set_grad(g.to(dtype));
        if (step == 3) muon.set_lr(0.1);
        muon.step();
        plain.step(g.to(dtype).to_vector<double>(), step == 3 ? 0.1 : 0.3, 0.7);
        EXPECT_TRUE(close(p.detach().to(f64), tensor(plain.p, shape), dtype == f32 ? 2e-5 : 1e-11)) << step;
      }
    }
}

TEST(Lookahead, FollowsItsFormula) {
  struct Net : nn::Module {
    nn::Parameter p = nn::Parameter(zeros({3}, f64)), frozen = nn::Parameter(zeros({2}, f64));
    nn::Buffer running = nn::Buffer(zeros({2})), count = nn::Buffer(zeros({1}, i64));
    NORMA_VISIT(p, frozen, running, count)
    Net() { frozen.set_requires_grad(false); }
    Tensor forward(const Tensor& x) override { return x; }
  } net;
  constexpr int64_t k = 3, steps = 8;
  const auto now = [&] {
    Values values = net.p.to_vector<double>();
    for (const double x : net.running.to_vector<double>()) values.push_back(x);
    return values;
  };
  net.p.copy_from(tensor(normal(3, 8), {3}));
  Lookahead lookahead(net, k, steps);
  Values slow = now();
  for (int64_t step = 1; step <= steps; ++step) {
    for (const Tensor& x : {net.p.detach(), net.frozen.detach(), Tensor(net.running)})
      x.copy_from(x + tensor(normal(x.numel(), static_cast<uint64_t>(10 + step)), x.shape()).to(x.dtype()));
    net.count.fill(static_cast<double>(step));
    const Values fast = now(), frozen = net.frozen.to_vector<double>();
    lookahead.update(step);
    Values want = fast;
    if (step % k == 0) {
      const double d = 0.95 * 0.95 * 0.95 * std::pow(static_cast<double>(step) / steps, 3);
      for (size_t i = 0; i < slow.size(); ++i) slow[i] += (1 - d) * (fast[i] - slow[i]);
      want = slow;
    }
    if (step == steps) want = slow;
    const Values got = now();
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], i < 3 ? 1e-14 : 1e-6) << step << ", " << i;
    EXPECT_EQ(net.frozen.to_vector<double>(), frozen);
    EXPECT_EQ(net.count.to_vector<double>()[0], static_cast<double>(step));
  }
}

TEST(Lookahead, EndsOnAMultipleOfItsSteps) {
  nn::Linear fc(2, 1);
  Lookahead lookahead(fc, 2, 4);
  const double start = fc.weight.at({0, 0});
  for (int64_t step = 1; step <= 4; ++step) {
    fc.weight.fill(step);
    lookahead.update(step);
  }
  const double kept = 0.95 * 0.95, first = start + (1 - kept / 8) * (2 - start);  // behind step 2, half of the way
  EXPECT_NEAR(fc.weight.at({0, 0}), first + (1 - kept) * (4 - first), 1e-6);
}

TEST(Rules, SayWhichRateAndDecayEachParameterHas) {
  TinyAirbench tiny;
  RuleOptions options{.lr = 0.5, .weight_decay = 0.02, .schedule = "linear", .decay = "all", .optimizer = "muon"};
  options.bias_lr = 64;
  options.stem_lr = 8;
  options.stem_epochs = 1.5;
  Rules rules(tiny.net, options, 20, 5);
  const auto all = rules.optimizers();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].first, "sgd");
  EXPECT_EQ(all[1].first, "filters");
  EXPECT_EQ(all[2].first, "stem");
  const auto names = [&](size_t i) {
    std::string text;
    for (const auto& [name, _] : all[i].second.get().parameters().named) text += name + " ";
    return text;
  };
  EXPECT_EQ(names(0),
            "groups.0.norm1.bias groups.0.norm2.bias groups.1.norm1.bias groups.1.norm2.bias groups.2.norm1.bias "
            "groups.2.norm2.bias fc.weight ");
  EXPECT_EQ(names(1),
            "groups.0.conv1.weight groups.0.conv2.weight groups.1.conv1.weight groups.1.conv2.weight "
            "groups.2.conv1.weight groups.2.conv2.weight ");
  EXPECT_EQ(names(2), "whiten.bias ");
  // The decay in a step is of all the same: 64 * (0.02 / 64).
  EXPECT_EQ(all[0].second.get().groups(), "a predicate of 6, lr_scale 64, weight_decay 0.0003125");
  EXPECT_EQ(all[2].second.get().groups(), "'*' of 1, lr_scale 8, weight_decay 0.0025");

  // A linear schedule of the stem ends with its training, ceil(1.5 * 5) steps.
  const auto rates = [&](int64_t step) {
    rules.begin(step);
    return Values{all[0].second.get().lr(), all[1].second.get().lr(), all[2].second.get().lr()};
  };
  EXPECT_EQ(rates(0), (Values{0.5, 0.24, 0.5}));
  EXPECT_EQ(rates(4), (Values{0.5 * (1 - 4 / 20.0), 0.24 * (1 - 4 / 20.0), 0.5 * (1 - 4 / 8.0)}));
  rules.begin(7);
  EXPECT_TRUE(tiny.net.whiten.bias.requires_grad());
  rules.begin(8);
  EXPECT_FALSE(tiny.net.whiten.bias.requires_grad());

  nn::Linear fc(3, 2);  // where SGD is alone, it has no name
  Rules plain(fc, {}, 4, 2);
  ASSERT_EQ(plain.optimizers().size(), 1u);
  EXPECT_EQ(plain.optimizers()[0].first, "");
  EXPECT_EQ(plain.optimizers()[0].second.get().groups(), "a predicate of 1, weight_decay 0");
}

TEST(Rules, HaveTheSchedulesOfTheRecipes) {
  const auto triangle = make_schedule("triangle", 1.5, 476);  // up to step 109 = floor(0.23 * 476)
  EXPECT_NEAR(triangle(0), 0.2 * 1.5, 1e-12);
  EXPECT_NEAR(triangle(109), 1.5, 1e-12);
  EXPECT_NEAR(triangle(54), (0.2 + 0.8 * 54 / 109) * 1.5, 1e-12);
  EXPECT_NEAR(triangle(300), (1 - 0.93 * (300 - 109) / (476 - 109)) * 1.5, 1e-12);
  EXPECT_NEAR(triangle(476), 0.07 * 1.5, 1e-12);
  EXPECT_NEAR(make_schedule("triangle", 1, 3)(0), 1, 1e-12);  // too short to rise
  const auto step = make_schedule("step", 0.1, 64'000);
  EXPECT_EQ(step(31'999), 0.1);
  EXPECT_NEAR(step(32'000), 0.01, 1e-12);
  EXPECT_NEAR(step(48'000), 0.001, 1e-12);
}

}  // namespace
}  // namespace examples
