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

// Where the rising part ends on a step, that step has max_lr, however up * steps was rounded: with one rounding or, on
// a processor that multiplies and adds in one, without.
TEST(Schedule, TheTopOfACycleIsOneStep) {
  EXPECT_EQ((OneCycleLR{.max_lr = 1, .steps = 10, .up = .1}(0)), 1);
  for (int64_t steps = 2; steps <= 200; ++steps) {
    for (int64_t rising = 1; rising < steps; ++rising) {
      const double up = static_cast<double>(rising) / static_cast<double>(steps);
      for (double near : {up, std::nextafter(up, 0.), std::nextafter(up, 1.)}) {
        const OneCycleLR cycle{.max_lr = 1, .steps = steps, .up = near};
        EXPECT_EQ(cycle(rising - 1), 1) << steps << " " << rising;
        if (rising > 1) {
          EXPECT_EQ(cycle(0), 1 / 25.0);
        }
        EXPECT_LT(cycle(rising), 1) << steps << " " << rising;
      }
    }
  }
  EXPECT_EQ((OneCycleLR{.max_lr = 1, .steps = 10, .up = std::nextafter(1., 0.)}(9)), 1) << "no step is left to fall";
  EXPECT_EQ((OneCycleLR{.max_lr = 1, .steps = 10, .up = std::nextafter(1., 0.)}(99)), 1) << "past the end";
}

TEST(Schedule, EndsAreExact) {
  for (double from : {0.1, 0.3, 1e-3, 0.7}) {
    for (double to : {0.0, 1e-5, 0.01, 0.03}) {
      const CosineLR cosine{.lr = from, .steps = 7, .min_lr = to};
      EXPECT_EQ(cosine(0), from);
      for (int64_t end : {int64_t{7}, int64_t{8}, INT64_MAX}) EXPECT_EQ(cosine(end), to);
    }
    const OneCycleLR cycle{.max_lr = from, .steps = 7};
    EXPECT_EQ(cycle(0), from / 25);
    for (int64_t end : {int64_t{6}, int64_t{7}, INT64_MAX}) EXPECT_EQ(cycle(end), from / 25 / 1e4);
  }
  EXPECT_EQ((OneCycleLR{.max_lr = 1, .steps = 1}(0)), 1 / 25.0 / 1e4);
  EXPECT_EQ((CosineLR{.lr = 1, .steps = 1}(0)), 1);
  EXPECT_EQ((StepLR{.lr = 1, .step_size = 1, .gamma = 0}(0)), 1);
  EXPECT_EQ((StepLR{.lr = 1, .step_size = 1, .gamma = 0}(INT64_MAX)), 0);
  EXPECT_EQ((WarmUp{StepLR{.lr = 1}, 1}(0)), 1);
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
  expect_error([] { OneCycleLR{.steps = 3, .up = 0}(0); }, "[OneCycleLR] up = 0");
  expect_error([] { OneCycleLR{.steps = 3, .up = NAN}(0); }, "[OneCycleLR] up = nan");
  expect_error([] { OneCycleLR{.steps = 3, .start_div = 1e-320}(0); }, "[OneCycleLR] a learning rate of inf");
  expect_error([] { OneCycleLR{.steps = 3, .final_div = 1e-320}(2); }, "[OneCycleLR] a learning rate of inf");
  expect_error([] { StepLR{.lr = 1, .step_size = 1, .gamma = 10}(400); }, "[StepLR] a learning rate of inf");
  expect_error([] { StepLR{.lr = 0, .step_size = 1, .gamma = 10}(400); }, "[StepLR] a learning rate of");
  const auto gives = [](double lr) { return WarmUp{[lr](int64_t) { return lr; }, 4}; };
  expect_error([&] { gives(NAN)(0); }, "[WarmUp] a learning rate of nan");
  expect_error([&] { gives(-1)(9); }, "[WarmUp] a learning rate of -1");
  expect_error([&] { gives(1)(-1); }, "[WarmUp] step -1: steps count from 0");
}

}  // namespace
}  // namespace norma::nn
