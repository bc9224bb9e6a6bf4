// DomainNorm: whatever the domains share, against batch norms of their own.
#include "norma/nn/norm/norm.h"
#include "norma/nn/sequential.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

constexpr int64_t kDomains = 3, kChannels = 4;
const Tensor kIds = tensor<int64_t>({2, 0, 1, 0, 2, 2, 1, 0, 1, 1});

Tensor of_domain(const Tensor& x, int64_t domain) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < kIds.numel(); ++i)
    if (kIds.data<int64_t>()[i] == domain) rows.push_back(i);
  return index_select(x, 0, tensor(rows, {static_cast<int64_t>(rows.size())}));
}

class Sharing : public ::testing::TestWithParam<int> {
 protected:
  Domains domains{kDomains, (GetParam() & 1) != 0, (GetParam() & 2) != 0, (GetParam() & 4) != 0};
};
INSTANTIATE_TEST_SUITE_P(Norm, Sharing, ::testing::Range(0, 8));

// One mixed batch in training and one in evaluation. The composed version: BatchNorms without affine parts, one for
// each domain or one for all, then gamma and beta.
TEST_P(Sharing, IsSeparateBatchNorms) {
  Norm norm = DomainNorm(kChannels, domains, {.momentum = 0.3, .activation = Activation::relu()});
  norm.to(f64);
  EXPECT_EQ(norm.weight.shape(), (domains.affine ? Shape{3, 4} : Shape{4}));
  EXPECT_EQ(norm.running_mean.shape(), (domains.population ? Shape{3, 4} : Shape{4}));
  Generator generator(3);
  generator.fill_uniform(norm.weight, 0.5, 2);
  generator.fill_uniform(norm.bias, -1, 1);
  set_domains(norm, kIds);

  Tensor x = random({10, 3, 2, 4}, 1);
  x = x + reshape(kIds.to(f64), {10, 1, 1, 1});  // the domains differ
  const Tensor dy = random(x.shape(), 2), skip = random(x.shape(), 9);
  x.set_requires_grad();
  Tape tape;
  const Tensor y = norm(x, skip);
  tape.backward(y, {.seed = dy});

  Norm all = BatchNorm(kChannels, {.momentum = 0.3, .affine = false});
  std::vector<Norm> each;
  for (int64_t d = 0; d < kDomains; ++d) each.push_back(BatchNorm(kChannels, {.momentum = 0.3, .affine = false}));
  Tensor gamma = norm.weight.clone().set_requires_grad(), beta = norm.bias.clone().set_requires_grad();
  Tensor own_x = x.detach().clone().set_requires_grad();
  Tape own_tape;
  const auto affine = [&](const Tensor& xhat, const Tensor& residual, int64_t d) {
    const auto row = [&](const Tensor& p) { return domains.affine ? reshape(slice(p, 0, d, d + 1), {kChannels}) : p; };
    return relu(xhat * row(gamma) + row(beta) + residual);
  };
  const Tensor xhat_of_all = all(own_x);
  Tensor loss = scalar(0, f64);
  for (int64_t d = 0; d < kDomains; ++d) {
    const Tensor xhat = each[static_cast<size_t>(d)](of_domain(own_x, d));
    const Tensor want = affine(domains.batch ? xhat : of_domain(xhat_of_all, d), of_domain(skip, d), d);
    EXPECT_TRUE(close(of_domain(y, d), want));
    loss = loss + sum(want * of_domain(dy, d));
  }
  own_tape.backward(loss);
  EXPECT_TRUE(close(x.grad(), own_x.grad(), 1e-11));
  EXPECT_TRUE(close(norm.weight.grad(), gamma.grad(), 1e-11));
  EXPECT_TRUE(close(norm.bias.grad(), beta.grad(), 1e-11));

  // What the step did to the population. Where the domains share one but not the batch, it follows their mean.
  Tensor mean_of_each = zeros({kChannels}, f64), var_of_each = zeros({kChannels}, f64);
  for (Norm& one : each) {
    mean_of_each = mean_of_each + one.running_mean / static_cast<double>(kDomains);
    var_of_each = var_of_each + one.running_var / static_cast<double>(kDomains);
  }
  for (int64_t d = 0; d < kDomains; ++d) {
    const auto row = [&](const Tensor& p) {
      return domains.population ? view::reshape(view::slice(p, 0, d, d + 1), {kChannels}) : p;
    };
    const Norm& one = each[static_cast<size_t>(d)];
    const bool own = domains.population, mixed = domains.batch;
    const Tensor want_mean = own ? Tensor(one.running_mean) : mixed ? mean_of_each : Tensor(all.running_mean);
    const Tensor want_var = own ? Tensor(one.running_var) : mixed ? var_of_each : Tensor(all.running_var);
    EXPECT_TRUE(close(row(norm.running_mean), want_mean));
    EXPECT_TRUE(close(row(norm.running_var), want_var));
  }

  // Evaluation is by label too, and no sample depends on the others.
  norm.eval();
  const Tensor evaluated = norm(x, skip);
  for (int64_t d = 0; d < kDomains; ++d) {
    const auto row = [&](const Tensor& p) {
      return domains.population ? view::reshape(view::slice(p, 0, d, d + 1), {kChannels}) : p;
    };
    const Tensor xhat = (of_domain(x, d).detach() - row(norm.running_mean)) / sqrt(row(norm.running_var) + norm.eps);
    EXPECT_TRUE(close(of_domain(evaluated, d), affine(xhat, of_domain(skip, d), d)));
  }
}

TEST_P(Sharing, Gradcheck) {
  Norm norm = DomainNorm(2, domains);
  norm.to(f64);
  norm.ids = tensor<int64_t>({0, 2, 2, 0});
  const Tensor x = random({4, 3, 2}), gamma = random(norm.weight.shape(), 2), beta = random(norm.bias.shape(), 3);
  const GradcheckResult result = gradcheck(
      [&](const std::vector<Tensor>& inputs) {
        static_cast<Tensor&>(norm.weight) = inputs[1];
        static_cast<Tensor&>(norm.bias) = inputs[2];
        return norm(inputs[0]);
      },
      {x, gamma, beta});
  EXPECT_TRUE(result.ok) << result.message;
}

TEST(DomainNorm, ADomainThatIsAbsentKeepsItsPopulation) {
  for (const Estimator& estimator : {Estimator::ema(), Estimator::cumulative()}) {
    Norm norm = DomainNorm(kChannels, {.count = 2});
    norm.estimator = estimator;
    for (int64_t step = 0; step < 3; ++step) {
      set_domains(norm, full({4}, step == 1 ? 1 : 0, i64));
      Tape tape;
      norm(random({4, 2, 4}, static_cast<uint64_t>(step)).to(f32));
    }
    EXPECT_EQ(norm.num_batches_tracked.to_vector<int64_t>(), (std::vector<int64_t>{2, 1}));
    if (estimator.momentum) continue;
    const Tensor second = moments(random({4, 2, 4}, 1).to(f32)).mean;
    EXPECT_TRUE(close(view::slice(norm.running_mean, 0, 1, 2), second));
  }
}

TEST(DomainNorm, WantsToKnowTheDomains) {
  Sequential net(DomainNorm(4, {.count = 2}), BatchNorm(4));
  expect_error([&] { net(random({4, 4}).to(f32)); }, "[DomainNorm(2)] wants the domain of each sample: set_domains");
  set_domains(net, tensor<int64_t>({0, 1, 0}));
  expect_error([&] { net(random({4, 4}).to(f32)); }, "3 sample labels for a batch of 4");
  set_domains(net, tensor<int64_t>({0, 1, 0, 2}));
  expect_error([&] { net(random({4, 4}).to(f32)); }, "sample label 2 at index 3");
  expect_error([] { Norm(4, {.grouping = instance(), .domains = {2}}); }, "[Norm] 2 domains under each x all x each");
  Norm norm = BatchNorm(4);
  norm.grouping.positions = Positions::each;
  expect_error([&] { norm(random({4, 3, 4}).to(f32)); }, "has no statistics of single positions");
}

}  // namespace
}  // namespace norma::nn
