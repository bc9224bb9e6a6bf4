// Learning rate schedules: against PyTorch's, their ends, and nonsense.
#include "norma/nn/optim/schedule.h"

#include <functional>

#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

TEST(Schedule, AgreesWithPyTorch) {
  for_each_case("schedule", "", [](const GoldenCase& c) {
    if (c.dtype == f32) return;
    std::function<double(int64_t)> schedule;
    const auto& a = c.attrs;
    if (c.op == "step_lr") schedule = StepLR{.lr = a["lr"], .step_size = a["step_size"], .gamma = a["gamma"]};
    if (c.op == "cosine_annealing_lr") schedule = CosineLR{.lr = a["lr"], .steps = a["T_max"], .min_lr = a["eta_min"]};
    if (c.op == "one_cycle_lr")
      schedule = OneCycleLR{.max_lr = a["max_lr"],
                            .steps = a["total_steps"],
                            .up = a["pct_start"],
                            .start_div = a["div_factor"],
                            .final_div = a["final_div_factor"]};
    const std::vector<double> want = c["lr"].to_vector<double>();
    for (size_t k = 0; k < want.size(); ++k)
      EXPECT_NEAR(schedule(static_cast<int64_t>(k)), want[k], 1e-12 * want[0]) << "step " << k;
  });
}

TEST(Schedule, StaysAtItsEnd) {
  const CosineLR cosine{.lr = 1, .steps = 10, .min_lr = 0.25};
  EXPECT_DOUBLE_EQ(cosine(10), 0.25);
  EXPECT_DOUBLE_EQ(cosine(25), 0.25);
  const OneCycleLR cycle{.max_lr = 1, .steps = 10};
  EXPECT_DOUBLE_EQ(cycle(9), 1 / 25.0 / 1e4);
  EXPECT_DOUBLE_EQ(cycle(100), cycle(9));
  for (int64_t steps : {1, 2, 3})
    for (int64_t k = 0; k <= steps; ++k) EXPECT_TRUE(std::isfinite((OneCycleLR{.steps = steps, .up = 0.5}(k))));
}

TEST(Schedule, WarmUpScalesTheFirstSteps) {
  const WarmUp warm{StepLR{.lr = 1, .step_size = 6, .gamma = 0.5}, 4};
  const std::vector<double> want = {0.25, 0.5, 0.75, 1, 1, 1, 0.5};
  for (size_t k = 0; k < want.size(); ++k) EXPECT_DOUBLE_EQ(warm(static_cast<int64_t>(k)), want[k]);
}

TEST(Schedule, RejectsNonsense) {
  expect_error([] { StepLR{}(-1); }, "[StepLR] step -1: steps count from 0");
  expect_error([] { StepLR{.lr = NAN}(0); }, "[StepLR] a learning rate of nan");
  expect_error([] { StepLR{.step_size = 0}(0); }, "[StepLR] 0 steps: want at least 1");
  expect_error([] { StepLR{.gamma = -1}(0); }, "[StepLR] a gamma of -1");
  expect_error([] { CosineLR{}(0); }, "[CosineLR] 0 steps: want at least 1");
  expect_error([] { CosineLR{.steps = 3, .min_lr = -1}(0); }, "[CosineLR] a learning rate of -1");
  expect_error([] { OneCycleLR{}(0); }, "[OneCycleLR] 0 steps: want at least 1");
  expect_error([] { OneCycleLR{.steps = 3, .up = 1}(0); }, "[OneCycleLR] up = 1: the rising part is in (0, 1)");
  expect_error([] { OneCycleLR{.steps = 3, .start_div = 0}(0); }, "[OneCycleLR] start_div = 0");
  expect_error([] { WarmUp{StepLR{}, 0}(0); }, "[WarmUp] 0 steps: want at least 1");
}

}  // namespace
}  // namespace norma::nn
