// Muon, and optimizers that look ahead: against PyTorch's steps, what is orthogonal, state, errors.
#include "norma/core/parallel.h"
#include "norma/nn/layers.h"
#include "norma/nn/optim/muon.h"
#include "norma/nn/optim/sgd.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

// Steps from the golden gradients of each parameter, and compares each with the golden results.
void follow(const GoldenCase& c, Optimizer& optimizer, double tolerance) {
  const NamedTensors& named = optimizer.parameters().named;
  for (int k = 0; k < 7; ++k) {
    for (const auto& [name, p] : named) p.set_grad(c[fmt::format("{}_g{}", name, k)]);
    optimizer.step();
    for (const auto& [name, p] : named)
      EXPECT_TRUE(close(p, c[fmt::format("{}_{}", name, k + 1)], tolerance)) << name << ", step " << k;
  }
}

MuonOptions options_of(const nlohmann::json& a) {
  return {.lr = a["lr"],
          .momentum = a["momentum"],
          .nesterov = a["nesterov"],
          .weight_decay = a["weight_decay"],
          .rest_scale = a["rest_scale"]};
}

TEST(Muon, AgreesWithPyTorch) {
  for_each_case("more_optim", "muon", [](const GoldenCase& c) {
    Muon muon(NamedTensors{{"p", c.leaf("p")}, {"bias", c.leaf("bias")}}, options_of(c.attrs));
    follow(c, muon, c.dtype == f32 ? 2e-5 : 1e-12);
  });
}

// What a step of rate 1 takes from 0 has singular values around 1: its product with itself is near the identity.
TEST(Muon, StepsAlongAllDirectionsAlike) {
  for (const auto& [shape, size] :
       {std::pair(Shape{8, 20}, 1.), std::pair(Shape{20, 8}, 1e-3), std::pair(Shape{6, 3, 3, 2}, 1e30)}) {
    Parameter p(zeros(shape));
    Generator g(1);
    p.set_grad(randn(shape, g) * size);
    Muon(NamedTensors{{"p", p}}, {.lr = 1}).step();
    const int64_t rows = shape[0], columns = shape.numel() / rows;
    const double tall = std::max(1., static_cast<double>(rows) / static_cast<double>(columns));
    Tensor u = view::reshape(p.detach(), {rows, columns}) / std::sqrt(tall);
    if (rows > columns) u = view::permute(u, {1, 0});
    const Tensor square = matmul(u, view::permute(u, {1, 0}));
    for (int64_t i = 0; i < square.dim(0); ++i) {
      EXPECT_GT(square.at({i, i}), 0.3);
      EXPECT_LT(square.at({i, i}), 1.6);
    }
  }
}

TEST(Muon, KeepsForEachParameterWhatItsRuleNeeds) {
  Linear fc(3, 2), out(2, 2);
  const NamedTensors list = {{"fc", fc.weight}, {"bias", fc.bias}, {"out", out.weight}};
  Muon muon(list, {.which = "[!o]*"});
  std::vector<std::string> names;
  for (const auto& [name, _] : muon.state()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"lr", "fc/step", "fc/velocity", "bias/step", "bias/mean", "bias/square",
                                             "out/step", "out/mean", "out/square"}));
}

template <class Make>
void expect_resumes(const Make& make) {
  const auto run = [&](bool restart) {
    manual_seed(2);
    Linear fc(4, 3);
    Generator g(1);
    auto optimizer = make(fc);
    for (int k = 0; k < 7; ++k) {
      for (const Tensor& p : fc.parameters()) p.set_grad(randn(p.shape(), g));
      if (restart && k == 4) {
        NamedTensors state;
        for (const auto& [name, x] : optimizer->state()) state.emplace_back(name, x.clone());
        optimizer = make(fc);
        optimizer->load_state(state);
      }
      optimizer->step();
    }
    return std::pair(fc.weight, fc.bias);
  };
  const auto a = run(false), b = run(true);
  EXPECT_TRUE(same_bits(a.first, b.first) && same_bits(a.second, b.second));
}

TEST(Muon, StateRestoresTheRunExactly) {
  expect_resumes([](Module& model) { return std::make_unique<Muon>(model); });
  expect_resumes([](Module& model) {
    auto optimizer = std::make_unique<Muon>(model);
    optimizer->look_ahead(3);
    return optimizer;
  });
}

TEST(Muon, GivesTheSameBitsForAnyNumberOfThreads) {
  const int before = num_threads();
  std::vector<Tensor> results;
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    Generator g(1);
    Parameter p(randn({70, 5, 5, 9}, g));
    Muon muon(NamedTensors{{"p", p}});
    for (int k = 0; k < 2; ++k) {
      p.set_grad(randn(p.shape(), g));
      muon.step();
    }
    results.push_back(p);
  }
  set_num_threads(before);
  EXPECT_TRUE(same_bits(results[0], results[1]));
}

TEST(Muon, TakesEmptyAndZeroGradients) {
  const NamedTensors list = {{"none", zeros({0, 3})}, {"no_columns", zeros({3, 0})}, {"p", ones({2, 2})}};
  for (const auto& [_, p] : list) p.set_grad(zeros_like(p));
  Muon(list).step();
  EXPECT_TRUE(same_bits(list[2].second, ones({2, 2})));
}

TEST(Muon, RejectsNonsense) {
  Linear fc(3, 2);
  expect_error([&] { Muon(fc, {.lr = -1}); }, "[Muon] a learning rate of -1");
  expect_error([&] { Muon(fc, {.momentum = 1}); }, "[Muon] momentum 1, rest_scale 0.015: want one in [0, 1)");
  expect_error([&] { Muon(fc, {.rest_scale = NAN}); }, "[Muon] momentum 0.95, rest_scale nan");
  expect_error([&] { Muon(fc, {.beta2 = 1}); }, "[Muon] betas of 0.9 and 1");
  expect_error([&] { Muon(fc, {.which = "blocks.*"}); }, "[Muon] 'blocks.*' matches none of 2 parameters");
}

TEST(Lookahead, AgreesWithPyTorch) {
  for_each_case("more_optim", "lookahead", [](const GoldenCase& c) {
    SGD optimizer(NamedTensors{{"p", c.leaf("p")}}, {.lr = c.attrs["lr"], .momentum = c.attrs["momentum"]});
    optimizer.look_ahead(c.attrs["k"], c.attrs["alpha"]);
    follow(c, optimizer, 0);
  });
}

TEST(Lookahead, CountsTheStepsOfEachParameter) {
  Linear fc(3, 2);
  fc.weight.fill(0), fc.bias.fill(0);
  SGD optimizer(fc, {.lr = 1});
  optimizer.look_ahead(2, 0.5);
  const auto step = [&](bool bias) {
    optimizer.zero_grad();
    fc.weight.set_grad(full({2, 3}, -1));
    if (bias) fc.bias.set_grad(full({2}, -1));
    optimizer.step();
  };
  step(true), step(false);
  EXPECT_EQ(fc.weight.at({0, 0}), 1);
  EXPECT_EQ(fc.bias.at({0}), 1);
  step(true);
  EXPECT_EQ(fc.weight.at({0, 0}), 2);
  EXPECT_EQ(fc.bias.at({0}), 1) << "its second step: half way from 0 to 2";
}

TEST(Lookahead, StateRestoresTheRunExactly) {
  expect_resumes([](Module& model) {
    auto optimizer = std::make_unique<SGD>(model, SGDOptions{.lr = 0.1, .momentum = 0.9});
    optimizer->look_ahead(3, 0.5);
    return optimizer;
  });
  Linear fc(3, 2);
  SGD optimizer(fc);
  const NamedTensors before = optimizer.state();
  optimizer.look_ahead();
  EXPECT_EQ(optimizer.state()[2].first, "weight/slow");
  EXPECT_FALSE(optimizer.state()[2].second.requires_grad());
  expect_error([&] { optimizer.load_state(before); }, "missing: weight/slow [2, 3]");
}

TEST(Lookahead, RejectsNonsense) {
  Linear fc(3, 2);
  SGD sgd(fc);
  expect_error([&] { sgd.look_ahead(0); }, "[SGD] looks ahead with k = 0, alpha = 0.5: want at least 1, one in (0, 1]");
  for (double alpha : {0., 1.5, double{NAN}})
    expect_error([&] { sgd.look_ahead(5, alpha); }, fmt::format("[SGD] looks ahead with k = 5, alpha = {}", alpha));
  EXPECT_EQ(sgd.state().size(), 3u);
}

}  // namespace
}  // namespace norma::nn
