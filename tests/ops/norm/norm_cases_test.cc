// The normalization family: PyTorch's numbers, and the corners where normalizations go wrong silently.
#include <thread>

#include "norma/core/workers.h"
#include "norma/ops/norm/norm.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

NormOptions eps_of(const GoldenCase& c) { return {.eps = c.attrs["eps"]}; }

void check_against_torch(
    const std::string& op,
    const std::function<Tensor(const GoldenCase&, const Tensor& x, const Tensor& gamma, const Tensor& beta)>& f) {
  for_each_case("norm", op, [&](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), gamma = c.has("gamma") ? c.leaf("gamma") : Tensor(),
                 beta = c.has("beta") ? c.leaf("beta") : Tensor();
    std::vector<std::pair<std::string, Tensor>> leaves = {{"x", x}};
    if (gamma.defined()) leaves.emplace_back("gamma", gamma);
    if (beta.defined()) leaves.emplace_back("beta", beta);
    check_case(
        c, [&] { return f(c, x, gamma, beta); }, leaves, c.dtype == f32 ? 5e-6 : 1e-12);
  });
}

TEST(NormCases, BatchNormAgreesWithPyTorchRunningStatisticsIncluded) {
  check_against_torch("batch_norm", [](const GoldenCase& c, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
    Moments moments;
    NormOptions options = eps_of(c);
    options.moments = &moments;
    const Tensor y = norm(x, whole(), {}, gamma, beta, options);
    const double m = c.attrs["momentum"], tolerance = c.dtype == f32 ? 1e-6 : 1e-12;
    const Shape channels = c["running_mean"].shape();
    const auto ema = [&](const Tensor& before, const Tensor& now) {
      return before.to(f64) * (1 - m) + there(view::reshape(now, channels)) * m;
    };
    EXPECT_TRUE(close(ema(c["running_mean"], moments.mean), c["new_running_mean"].to(f64), tolerance));
    EXPECT_TRUE(close(ema(c["running_var"], moments.var(1)), c["new_running_var"].to(f64), tolerance));
    return y;
  });
}

TEST(NormCases, GivenStatisticsAgreeWithPyTorch) {
  check_against_torch(
      "batch_norm_eval", [](const GoldenCase& c, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
        return norm(x, whole(), Statistics::given(c["running_mean"], c["running_var"]), gamma, beta, eps_of(c));
      });
}

TEST(NormCases, GroupNormAgreesWithPyTorch) {
  check_against_torch("group_norm", [](const GoldenCase& c, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
    return norm(x, groups(c.attrs["groups"]), {}, gamma, beta, eps_of(c));
  });
}

TEST(NormCases, InstanceNormAgreesWithPyTorch) {
  check_against_torch("instance_norm",
                      [](const GoldenCase& c, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
                        return norm(x, instance(), {}, gamma, beta, eps_of(c));
                      });
}

TEST(NormCases, LayerNormAgreesWithPyTorch) {
  check_against_torch("layer_norm", [](const GoldenCase& c, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
    return norm(x, c.attrs["over"] == "features" ? features() : layer(), {}, gamma, beta, eps_of(c));
  });
}

TEST(NormCases, RmsNormAgreesWithPyTorch) {
  check_against_torch("rms_norm", [](const GoldenCase& c, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
    NormOptions options = eps_of(c);
    options.center = false;
    return norm(x, features(), {}, gamma, beta, options);
  });
}

TEST(NormCases, SingleElementCellsAreErrorsThatNameTheCell) {
  const Tensor flat = random({3, 4});
  expect_error(
      [&] {
        norm(random({1, 4}), whole(), {}, {}, {});
      },
      "[norm] cell 0 under whole x all x each holds a single element");
  expect_error([&] { norm(flat, chunks(1), {}, {}, {}); }, "use a larger batch or chunk");
  expect_error([&] { norm(flat, instance(), {}, {}, {}); }, "share statistics with more channels");
  expect_error([&] { norm(flat, labels(tensor<int64_t>({0, 2, 0}), 3), {}, {}, {}); }, "[norm] the cell of label 2");
  const Statistics renorm = Statistics::renorm(there(zeros({4}, f64)), there(ones({4}, f64)));
  expect_error([&] { norm(random({1, 4}), whole(), renorm, {}, {}); }, "single element");
  EXPECT_NO_THROW(
      norm(random({1, 4}), whole(), Statistics::given(there(zeros({4}, f64)), there(ones({4}, f64))), {}, {}));
  // One sample with a label is fine while it has several positions; so is RMS norm, which needs no spread.
  EXPECT_NO_THROW(norm(random({3, 2, 1, 4}), labels(tensor<int64_t>({0, 1, 0}), 2), {}, {}, {}));
  EXPECT_NO_THROW(norm(random({3, 1}), features(), {}, {}, {}, {.center = false}));
}

TEST(NormCases, EmptyBatchesAndAbsentLabels) {
  for (const Grouping& grouping : {whole(), chunks(2), instance(), features(), labels(zeros({0}, i64), 2)}) {
    Tensor x = zeros({0, 2, 2, 3}, f64).set_requires_grad();
    Tensor gamma = ones({3}, f64).set_requires_grad();
    Tape tape;
    const Tensor y = norm(x, grouping, {}, gamma, {});
    EXPECT_EQ(y.shape(), x.shape());
    tape.backward(y, {.seed = zeros_like(x)});
    EXPECT_TRUE(same_bits(gamma.grad(), zeros({3}, f64)));
  }
  const Tensor x = random({2, 2, 2, 3});
  EXPECT_TRUE(close(norm(x, labels(tensor<int64_t>({4, 4}), 6), {}, {}, {}), norm(x, whole(), {}, {}, {})));
}

TEST(NormCases, ChunksDifferByAtMostOneSampleAndNeverHoldOnlyOne) {
  const auto sizes = [](int64_t n, int64_t k) {
    const Moments m = moments(random({n, 1, 1, 1}), chunks(k));
    std::vector<int64_t> result;
    for (double count : m.count.to_vector<double>()) result.push_back(static_cast<int64_t>(count));
    return result;
  };
  EXPECT_EQ(sizes(8, 4), (std::vector<int64_t>{4, 4}));
  EXPECT_EQ(sizes(10, 4), (std::vector<int64_t>{4, 3, 3}));
  EXPECT_EQ(sizes(5, 2), (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(sizes(3, 2), (std::vector<int64_t>{3}));
  EXPECT_EQ(sizes(1, 2), (std::vector<int64_t>{1}));
  EXPECT_EQ(sizes(3, 1), (std::vector<int64_t>{1, 1, 1}));
  EXPECT_EQ(sizes(4, 100), (std::vector<int64_t>{4}));
}

// Mean 1e4, deviation 1e-2 in f32: E[x^2] - E[x]^2 has no digit left, x * scale + shift three.
TEST(NormCases, LargeMeansKeepTheirDigitsInF32) {
  Generator generator(1);
  Tensor x({16, 24, 24, 40});
  generator.fill_normal(x, 1e4, 1e-2);
  const Tensor exact = x.to(f64);
  for (const Grouping& grouping : {whole(), chunks(4), instance(), groups(8), layer(), features()}) {
    SCOPED_TRACE(grouping.str());
    const Moments m = moments(x, grouping), want = moments(exact, grouping);
    const auto got_var = m.var().to_vector<double>(), want_var = want.var().to_vector<double>();
    for (size_t i = 0; i < got_var.size(); ++i) ASSERT_NEAR(got_var[i] / want_var[i], 1, 1e-5);
    const Tensor y = norm(x, grouping, {}, {}, {}, {.eps = 1e-12}),
                 y64 = norm(exact, grouping, {}, {}, {}, {.eps = 1e-12});
    const auto got = y.to_vector<double>(), expected = y64.to_vector<double>();
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - expected[i]));
    EXPECT_LT(worst, 1e-4);
  }
}

TEST(NormCases, ConstantInputHasNoVarianceAndFiniteResults) {
  for (const Grouping& grouping : {whole(), chunks(2), instance(), groups(2), layer(), features()}) {
    Tensor x = full({4, 3, 3, 4}, 12345.678f).set_requires_grad();
    Tensor beta = tensor<float>({1, 2, 3, 4}).set_requires_grad();
    EXPECT_EQ(norma::max(moments(x, grouping).m2).item(), 0) << grouping.str();
    Tape tape;
    const Tensor y = norm(x, grouping, {}, {}, beta);
    EXPECT_TRUE(close(y, view::expand(beta, x.shape()).clone())) << grouping.str();
    tape.backward(y, {.seed = y.detach()});
    for (double v : x.grad().to_vector<double>()) EXPECT_TRUE(std::isfinite(v));
  }
}

TEST(NormCases, ReadsStridedInputs) {
  const Tensor x = view::permute(random({3, 4, 5, 6}), {0, 2, 3, 1});
  Tensor gamma = view::slice(random({12}), 0, 0, 12, 3), beta = view::slice(random({12}), 0, 1, 12, 3);
  for (const Grouping& grouping : {whole(), features(), groups(2)})
    EXPECT_TRUE(
        same_bits(norm(x, grouping, {}, gamma, beta), norm(x.contiguous(), grouping, {}, gamma.clone(), beta.clone())));
}

// A row is longer than what a tile holds of several.
TEST(NormCases, NormalizesRowsOfAnyLength) {
  const Tensor x = random({5, 16400}).to(f32), y = norm(x, whole(), {}, {}, {});
  for (int64_t at : {0, 8190, 16390})
    EXPECT_TRUE(close(view::slice(y, 1, at, at + 10), norm(view::slice(x, 1, at, at + 10), whole(), {}, {}, {}), 1e-6));
}

TEST(NormCases, TheResidualMayBeTheInputItself) {
  const auto f = [](const std::vector<Tensor>& in) {
    return norm(in[0], groups(2), {}, {}, {}, {.residual = {in[0]}});
  };
  const auto result = gradcheck(f, {random({3, 2, 2, 4})});
  EXPECT_TRUE(result) << result.message;
}

TEST(NormCases, MomentsMergeToThoseOfTheUnion) {
  const Tensor x = random({7, 3, 5, 6});
  const Moments all = moments(x, whole());
  const Moments merged = merge(moments(view::slice(x, 0, 0, 2), whole()), moments(view::slice(x, 0, 2, 7), whole()));
  EXPECT_TRUE(close(merged.mean, all.mean));
  EXPECT_TRUE(close(merged.m2, all.m2));
  EXPECT_TRUE(close(merge_sets(moments(x, chunks(2))).m2, all.m2));
  EXPECT_TRUE(close(merge(Moments{}, all).m2, all.m2));
}

TEST(NormCases, AcrossWorkersEqualsOneLargeBatchUnevenAndEmptyPartsIncluded) {
  const Tensor x = random({7, 3, 3, 5}), upstream = random(x.shape(), 2);
  const auto run = [&](const Grouping& grouping, int64_t begin, int64_t end) {
    Tensor part = view::slice(x, 0, begin, end).clone().set_requires_grad();
    Tensor gamma = random({5}, 3).set_requires_grad(), beta = random({5}, 4).set_requires_grad();
    Tape tape;
    const Tensor y = norm(part, grouping, {}, gamma, beta, {.activation = Activation::relu()});
    tape.backward(y, {.seed = view::slice(upstream, 0, begin, end).clone()});
    return std::vector<Tensor>{y.detach(), part.grad(), gamma.grad(), beta.grad()};
  };
  const std::vector<Tensor> want = run(whole(), 0, 7);
  const std::vector<int64_t> bounds = {0, 4, 4, 6, 7};  // the second worker has nothing
  std::vector<std::vector<Tensor>> got(4);
  run_workers({.count = 4}, [&](Communicator& me) {
    const size_t i = static_cast<size_t>(me.rank());
    got[i] = run(across(me), bounds[i], bounds[i + 1]);
  });
  Tensor dgamma = there(zeros({5}, f64)), dbeta = dgamma;
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(close(got[i][0], view::slice(want[0], 0, bounds[i], bounds[i + 1]))) << i;
    EXPECT_TRUE(close(got[i][1], view::slice(want[1], 0, bounds[i], bounds[i + 1]))) << i;
    dgamma = dgamma + got[i][2];
    dbeta = dbeta + got[i][3];
  }
  EXPECT_TRUE(close(dgamma, want[2]));
  EXPECT_TRUE(close(dbeta, want[3]));
}

TEST(NormCases, RejectsBadInput) {
  const Tensor x = random({4, 2, 2, 6});
  expect_error([&] { norm(random({4}), whole(), {}, {}, {}); }, "[norm] wants [N, ..., C] with C >= 1: input [4]");
  expect_error(
      [&] {
        norm(random({2, 3, 0}), whole(), {}, {}, {});
      },
      "[norm] wants [N, ..., C] with C >= 1: input [2, 3, 0]");
  expect_error([&] { norm(x, groups(4), {}, {}, {}); },
               "[norm] 6 channels do not divide into 4 groups: input [4, 2, 2, 6]");
  expect_error([&] { norm(x, whole(), {}, random({5}), {}); }, "[norm] gamma of shape [5] for 6 channels");
  expect_error([&] { norm(x, whole(), {}, random({2, 6}), {}); }, "[norm] gamma of shape [2, 6]");
  expect_error([&] { norm(x, whole(), {}, ones({6}), {}); }, "[norm] dtypes differ");
  expect_error(
      [&] {
        norm(x, labels(tensor<int64_t>({0, 1, 2, 3}), 3), {}, {}, {});
      },
      "[norm] sample label 3 at index 3");
  expect_error(
      [&] {
        norm(x, labels(tensor<int64_t>({0, 1}), 3), {}, {}, {});
      },
      "[norm] 2 sample labels for a batch of 4");
  expect_error([&] { norm(x, whole(), Statistics::given(zeros({5}), ones({5})), {}, {}); },
               "[norm] given statistics of shapes [5]");
  expect_error(
      [&] {
        norm(x, whole(), {}, {}, {}, {.residual = {random({4, 2, 2, 5})}});
      },
      "[norm] residual [4, 2, 2, 5]");
  expect_error(
      [&] {
        norm(std::vector{x, random({3, 2, 2, 6})}, instance(), {}, {}, {});
      },
      "[norm] inputs differ in samples");
  expect_error(
      [&] {
        norm(std::vector{x, random({4, 2, 2, 5})}, whole(), {}, {}, {});
      },
      "[norm] inputs differ in channels");
  expect_error([&] { norm(x, chunks(0), {}, {}, {}); }, "[norm] 0 chunks or labels: want at least 1");
  expect_error([&] { norm(x, labels(tensor<int64_t>({0, 0, 0, 0}), 0), {}, {}, {}); }, "[norm] 0 chunks or labels");
  expect_error([&] { moments(x, chunks(-2)); }, "[moments] -2 chunks or labels: want at least 1");
}

}  // namespace
}  // namespace norma
