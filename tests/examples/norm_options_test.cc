// What command lines say of norms.
#include "examples/common/norm_options.h"

#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::nn;
using namespace norma::test;

TEST(NormOptions, ConfigureTheNormsOfAModel) {
  Sequential model(BatchNorm(4), GroupNorm(2, 4));
  auto& norm = dynamic_cast<Norm&>(model[0]);
  const auto configured = [&](const std::string& population, const std::string& eval_stats) {
    NormOptions options;
    options.population = population;
    options.eval_stats = eval_stats;
    options.configure(model);
    return options;
  };
  configured("", "population");
  EXPECT_EQ(norm.estimator.momentum, 0.1);
  configured("ema:0.25", "minibatch");
  EXPECT_EQ(norm.estimator.momentum, 0.25);
  EXPECT_EQ(norm.evaluation, EvalStatistics::mini_batch);
  configured("cumulative", "population");
  EXPECT_EQ(norm.estimator.kind, Estimator::Kind::cumulative);
  for (const char* text :
       {"ema", "ema:", "ema:2", "ema:-1", "ema:x", "precise", "precise:0", "precise:1.5", "precise:5k", "x"})
    expect_error([&] { configured(text, "population"); }, "[--population] '");
  expect_error([&] { configured("", "batch"); }, "[--eval-stats] 'batch' is neither population nor minibatch");
}

}  // namespace
}  // namespace examples
