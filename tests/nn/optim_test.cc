// Optimizers and clipping: against PyTorch's, weight decay by parameter, state, errors.
#include "norma/ops/optim/optim.h"

#include "norma/nn/layers.h"
#include "norma/nn/optim/adam.h"
#include "norma/nn/optim/optimizer.h"
#include "norma/nn/optim/sgd.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

std::unique_ptr<Optimizer> make(const GoldenCase& c, const Tensor& p) {
  const NamedTensors list = {{"p", p}};
  const auto& a = c.attrs;
  if (c.op == "sgd")
    return std::make_unique<SGD>(list, SGDOptions{.lr = a["lr"],
                                                  .momentum = a["momentum"],
                                                  .nesterov = a["nesterov"],
                                                  .weight_decay = a["weight_decay"],
                                                  .dampening = a["dampening"]});
  const AdamOptions options{.lr = a["lr"],
                            .beta1 = a["betas"][0],
                            .beta2 = a["betas"][1],
                            .eps = a["eps"],
                            .weight_decay = a["weight_decay"].get<double>()};
  if (c.op == "adam") return std::make_unique<Adam>(list, options);
  return std::make_unique<AdamW>(list, options);
}

TEST(Optim, AgreesWithPyTorch) {
  for (const char* op : {"sgd", "adam", "adamw"}) {
    for_each_case("optim", op, [](const GoldenCase& c) {
      const Tensor p = c.leaf("p");
      const auto optimizer = make(c, p);
      for (int k = 0; k < 5; ++k) {
        p.set_grad(c[fmt::format("g{}", k)]);
        optimizer->step();
        EXPECT_TRUE(close(p, c[fmt::format("p{}", k + 1)])) << "step " << k;
      }
    });
  }
}

// The golden gradients are small; here the loops are cut into slots, and dampening is on.
TEST(Optim, LargeParametersFollowTheFormula) {
  Generator g(3);
  for (DType dtype : {f64, f32}) {
    // A large one between small ones, an empty one and one of the other dtype; the last has no velocity.
    std::vector<ParameterStep> steps;
    for (int64_t n : {3, 100'003, 0, 7, 20'000, 5}) {
      const DType own = n == 7 ? (dtype == f32 ? f64 : f32) : dtype;
      const auto make = [&] { return randn({n}, g, own); };
      steps.push_back({make(), make()});
      if (n != 5) steps.back().averages[0] = make();
      steps.back().lr = 0.1 + 0.01 * static_cast<double>(n % 10);
      steps.back().weight_decay = n == 7 ? 0 : 0.01;
      steps.back().step = n == 3 ? 1 : 2;
    }
    for (const bool nesterov : {false, true}) {
      std::vector<std::vector<double>> x, velocity;
      for (const ParameterStep& s : steps) {
        const Tensor& v = s.averages[0];
        x.push_back(s.p.to_vector<double>());
        velocity.push_back(v.defined() ? v.to_vector<double>() : std::vector<double>());
      }
      kernel::sgd_update(steps, {.momentum = 0.9, .dampening = 0.3, .nesterov = nesterov});
      for (size_t k = 0; k < steps.size(); ++k) {
        const auto& [p, grad, averages, lr, weight_decay, step] = steps[k];
        const Tensor& v = averages[0];
        const auto d = grad.to_vector<double>();
        std::vector<double> want_p, want_v;
        for (size_t i = 0; i < d.size(); ++i) {
          const double decayed = d[i] + weight_decay * x[k][i];
          if (v.defined()) want_v.push_back(step == 1 ? decayed : 0.9 * velocity[k][i] + 0.7 * decayed);
          const double along = !v.defined() ? decayed : nesterov ? decayed + 0.9 * want_v[i] : want_v[i];
          want_p.push_back(x[k][i] - lr * along);
        }
        const double tolerance = p.dtype() == f32 ? 1e-6 : 1e-14;
        EXPECT_TRUE(close(p, tensor(want_p, {p.numel()}), tolerance)) << k;
        if (!v.defined()) continue;
        EXPECT_TRUE(close(v, tensor(want_v, {p.numel()}), tolerance)) << k;
      }
    }
  }
}

TEST(Optim, TheFirstVelocityIsTheGradientUndampened) {
  const Tensor p = zeros({3}, f64), velocity = zeros({3}, f64);
  const SgdRule rule = {.momentum = 0.9, .dampening = 0.25};
  ParameterStep step = {p, ones({3}, f64), {velocity}, 1};
  kernel::sgd_update({&step, 1}, rule);
  EXPECT_TRUE(same_bits(velocity, ones({3}, f64)));
  step.step = 2;
  kernel::sgd_update({&step, 1}, rule);
  EXPECT_TRUE(close(p, full({3}, -1 - 1.65, f64)));
}

TEST(Optim, DecayCanLeaveOutVectors) {
  Linear fc(3, 2);
  const Tensor weight = fc.weight.clone(), bias = fc.bias.clone();
  fc.weight.set_grad(zeros({2, 3}));
  fc.bias.set_grad(zeros({2}));
  SGD(fc, {.lr = 0.5, .weight_decay = 0.5, .groups = {{is_norm_or_bias, {.weight_decay = 0}}}}).step();
  EXPECT_TRUE(close(fc.weight, mul(weight, 0.75)));
  EXPECT_TRUE(same_bits(fc.bias, bias));
  Linear other(3, 2);
  const Tensor start = other.weight.clone();
  other.weight.set_grad(zeros({2, 3}));
  AdamW(other, {.lr = 0.5}).step();
  EXPECT_TRUE(close(other.weight, mul(start, 1 - 0.5 * 0.01))) << "AdamW decays by default";
}

TEST(Optim, PassesOverParametersWithoutGradient) {
  Linear fc(3, 2);
  SGD optimizer(fc, {.lr = 1, .momentum = 0.9});
  expect_error([&] { optimizer.step(); }, "[SGD] no parameter has a gradient");
  const Tensor bias = fc.bias.clone();
  fc.weight.set_grad(ones({2, 3}));
  optimizer.step();
  EXPECT_TRUE(same_bits(fc.bias, bias));
  EXPECT_EQ(optimizer.state()[1].second.item(), 1);
  EXPECT_EQ(optimizer.state()[3].second.item(), 0) << "its count of steps stands still";
  optimizer.zero_grad();
  EXPECT_FALSE(fc.weight.grad().defined());
}

TEST(Optim, WritesNothingIntoWhatATapeHasSaved) {
  Linear fc(3, 2);
  SGD optimizer(fc, {.lr = 1});
  fc.weight.set_grad(ones({2, 3}));
  fc.bias.set_grad(ones({2}));
  const Tensor weight = fc.weight.clone(), bias = fc.bias.clone();
  Tensor x = ones({1, 3});
  x.set_requires_grad();  // so that the gradient needs the weight
  Tape tape;
  const Tensor y = fc(x);
  expect_error([&] { optimizer.step(); },
               "[SGD] parameter 'weight' is saved by PackedWeights or a pending tape entry (op 'linear')");
  EXPECT_TRUE(same_bits(fc.weight, weight) && same_bits(fc.bias, bias));
  tape.backward(y, {.seed = ones({1, 2})});
  optimizer.step();
  EXPECT_FALSE(same_bits(fc.weight, weight));
}

// Two optimizers on equal parameters, the second made anew from the first one's state half way.
TEST(Optim, StateRestoresTheRunExactly) {
  const auto run = [](bool restart) {
    Generator g(1);
    Linear fc(3, 2);
    for (const Tensor& p : fc.parameters()) g.fill_normal(p);
    auto optimizer = std::make_unique<AdamW>(fc, AdamOptions{.lr = 0.1});
    for (int k = 0; k < 6; ++k) {
      for (const Tensor& p : fc.parameters()) p.set_grad(randn(p.shape(), g));
      optimizer->set_lr(0.1 / (k / 3 + 1));
      if (restart && k == 4) {
        NamedTensors state;
        for (const auto& [name, x] : optimizer->state()) state.emplace_back(name, x.clone());
        optimizer = std::make_unique<AdamW>(fc, AdamOptions{.lr = 7});
        optimizer->load_state(state);
        EXPECT_EQ(optimizer->lr(), 0.05);
      }
      optimizer->step();
    }
    return fc.weight;
  };
  EXPECT_TRUE(same_bits(run(false), run(true)));
}

TEST(Optim, LoadStateListsAllThatDoesNotFit) {
  Linear fc(3, 2);
  SGD optimizer(fc, {.lr = 0.1, .momentum = 0.9});
  NamedTensors state = optimizer.state();
  EXPECT_EQ(state[2].first, "weight/velocity");
  state[0].second = full({}, 3, f64);
  state[2].second = zeros({3, 2});
  state[3].first = "bias/steps";
  const std::string want =
      "[SGD] does not fit the optimizer:\n"
      "  weight/velocity: shape [3, 2], the optimizer has [2, 3]\n"
      "  missing: bias/step []\n"
      "  unknown: bias/steps []";
  expect_error([&] { optimizer.load_state(state); }, want);
  EXPECT_EQ(optimizer.lr(), 0.1);
}

TEST(Optim, RejectsNonsense) {
  Linear fc(3, 2);
  expect_error([&] { SGD(fc, {.lr = -1}); }, "[SGD] a learning rate of -1");
  expect_error([&] { SGD(fc, {.lr = 1, .momentum = 1}); }, "[SGD] a momentum of 1");
  expect_error([&] { SGD(fc, {.lr = 1, .nesterov = true}); }, "[SGD] nesterov wants a momentum and no dampening");
  expect_error([&] { SGD(fc, {.weight_decay = NAN}); }, "[SGD] a weight decay of nan");
  expect_error([&] { Adam(fc, {.beta1 = 1}); }, "[Adam] betas of 1 and 0.999");
  expect_error([&] { Adam(fc, {.beta1 = -0.5}); }, "[Adam] betas of -0.5 and 0.999");
  expect_error([&] { Adam(fc, {.beta2 = 1}); }, "[Adam] betas of 0.9 and 1");
  expect_error([&] { Adam(fc, {.beta2 = -0.5}); }, "[Adam] betas of 0.9 and -0.5");
  expect_error([&] { AdamW(fc, {.eps = -1}); }, "[AdamW] an eps of -1");
  expect_error([&] { Adam(fc).set_lr(NAN); }, "[Adam] a learning rate of nan");
  expect_error([] { SGD(NamedTensors{}); }, "[SGD] no parameters");
  expect_error([&] { SGD(NamedTensors{{"a", fc.weight}, {"a", fc.bias}}); }, "[SGD] two parameters are named 'a'");
  expect_error([&] { SGD(NamedTensors{{"a", ones({2}, i64)}}); }, "[SGD] parameter 'a' is not a contiguous floating");
  expect_error([&] { SGD(NamedTensors{{"a", Tensor()}}); }, "[SGD] parameter 'a' is undefined");
  expect_error([&] { SGD(fc, {.momentum = 0.9, .dampening = NAN}); }, "[SGD] a dampening of nan");
  expect_error([&] { Adam(fc, {.eps = INFINITY}); }, "[Adam] an eps of inf");
}

TEST(Optim, WantsEachParameterOnce) {
  Linear fc(3, 2), other(2, 2);
  const NamedTensors twice = {{"a", fc.weight}, {"c", fc.bias}, {"b", fc.weight}};
  const std::string both = "parameters 0 ('a') and 2 ('b') share elements: list each once";
  expect_error([&] { SGD optimizer(twice); }, "[SGD] " + both);
  expect_error([&] { Adam optimizer(twice); }, "[Adam] " + both);
  expect_error([&] { AdamW optimizer(twice); }, "[AdamW] " + both);
  expect_error([&] { clip_grad_norm(twice, 1); }, "[clip_grad_norm] " + both);
  expect_error([&] { clip_grad_value(twice, 1); }, "[clip_grad_value] " + both);
  // Handles that do not know of each other, and views that overlap: each would step the same numbers.
  expect_error([&] { SGD(NamedTensors{{"a", fc.weight}, {"b", fc.weight.detach()}}); }, "('a') and 1 ('b') share");
  const Tensor flat = ones({10}), low = view::slice(flat, 0, 0, 6), high = view::slice(flat, 0, 6, 10);
  expect_error([&] { SGD(NamedTensors{{"a", view::slice(flat, 0, 5, 10)}, {"b", low}}); }, "0 ('a') and 1 ('b') share");
  SGD parts(NamedTensors{{"a", low}, {"b", high}});
  const Tensor t = view::permute(ones({2, 3}), {1, 0});
  expect_error([&] { clip_grad_norm(NamedTensors{{"a", t}, {"b", t}}, 1); }, "share elements");
  const Tensor table = ones({4, 4});  // columns, one beside the other
  const Tensor left = view::slice(table, 1, 0, 2), right = view::slice(table, 1, 2, 4);
  EXPECT_EQ(clip_grad_norm(NamedTensors{{"a", left}, {"b", right}}, 1), 0);
  // A module's are tied where two members are one tensor, not where they only share its memory.
  struct Tied : Module {
    Linear a{2, 2}, b{2, 2};
    NORMA_VISIT(a, b)
  } tied;
  tied.b.weight = tied.a.weight;
  EXPECT_EQ(SGD(tied).parameters().named.size(), 3u);
  tied.b.weight = Parameter(tied.a.weight.detach());
  expect_error([&] { SGD optimizer(tied); }, "parameters 0 ('a.weight') and 2 ('b.weight') share elements");
  expect_error([&] { clip_grad_norm(tied, 1); }, "share elements");
}

TEST(Optim, LoadStateWantsNumbersThatMakeSense) {
  Linear fc(3, 2);
  SGD optimizer(fc, {.lr = 0.1, .momentum = 0.9});
  const auto with = [&](size_t entry, const Tensor& value) {
    NamedTensors state;
    for (const auto& [name, x] : optimizer.state()) state.emplace_back(name, full(x.shape(), 0.5, x.dtype()));
    state[entry].second = value;
    return state;
  };
  for (double lr : {double{NAN}, double{INFINITY}, -1.})
    expect_error([&] { optimizer.load_state(with(0, scalar(lr, f64))); },
                 fmt::format("[SGD] a learning rate of {}: want", lr));
  for (int64_t step : {int64_t{-1}, INT64_MIN, INT64_MAX})
    expect_error([&] { optimizer.load_state(with(3, tensor<int64_t>({step}, {}))); },
                 fmt::format("[SGD] 'bias/step' is {}", step));
  EXPECT_EQ(optimizer.lr(), 0.1);
  EXPECT_EQ(optimizer.state()[2].second.at({0, 0}), 0) << "nothing has changed";
  optimizer.state()[0].second.fill(NAN);  // past set_lr: by the handle
  fc.weight.set_grad(ones({2, 3}));
  const Tensor weight = fc.weight.clone();
  expect_error([&] { optimizer.step(); }, "[SGD] a learning rate of nan");
  EXPECT_TRUE(same_bits(fc.weight, weight));
  EXPECT_EQ(optimizer.state()[1].second.item(), 0);
}

// An update that throws, as one that finds no memory, was no step.
TEST(Optim, AStepThatThrowsIsNotCounted) {
  struct Broken : Optimizer {
    explicit Broken(const Parameters& parameters) : Optimizer("Broken", parameters, 0.1, 0, {}, {}) {}
    void update(std::span<const ParameterStep> steps) override { fail("Broken", "step {}", steps[0].step); }
  };
  Linear fc(3, 2);
  Broken optimizer(fc);
  fc.weight.set_grad(ones({2, 3}));
  for (int i = 0; i < 2; ++i) expect_error([&] { optimizer.step(); }, "[Broken] step 1");
  EXPECT_EQ(optimizer.state()[1].second.item(), 0);
}

TEST(Clip, NormAgreesWithPyTorch) {
  for_each_case("optim", "clip_grad_norm", [](const GoldenCase& c) {
    NamedTensors parameters = {{"none", zeros({2}, c.dtype)}};
    for (int k = 0; k < 3; ++k) {
      const Tensor g = c[fmt::format("g{}", k)];
      parameters.emplace_back(std::to_string(k), zeros_like(g));
      parameters.back().second.set_grad(g.clone());
    }
    EXPECT_NEAR(clip_grad_norm(parameters, c.attrs["max_norm"]), c["norm"].item(), c.dtype == f32 ? 1e-6 : 1e-12);
    for (size_t k = 0; k < 3; ++k)
      EXPECT_TRUE(close(parameters[k + 1].second.grad(), c[fmt::format("c{}", k)])) << "gradient " << k;
  });
}

TEST(Clip, LargeNormsDoNotOverflowAndBadOnesChangeNothing) {
  const Tensor p = zeros({4});
  p.set_grad(full({4}, 1e30));  // its square is not a float
  EXPECT_NEAR(clip_grad_norm(NamedTensors{{"p", p}}, 4), 2e30, 1e24);
  EXPECT_TRUE(close(p.grad(), full({4}, 2)));
  p.set_grad(tensor<float>({NAN, 1, 2, 3}));
  EXPECT_TRUE(std::isnan(clip_grad_norm(NamedTensors{{"p", p}}, 1)));
  EXPECT_EQ(p.grad().at({3}), 3);
  expect_error([&] { clip_grad_norm(NamedTensors{{"p", p}}, 0); }, "[clip_grad_norm] a largest norm of 0");
}

TEST(Clip, NormsBelowTheLimitStayToTheBit) {
  for (DType dtype : {f32, f64}) {
    const Tensor p = zeros({2}, dtype), g = tensor({3., 4.}).to(dtype);
    for (double limit : {5., 5 + 1e-9, 5 + 1e-6, double{INFINITY}}) {
      p.set_grad(g.clone());
      EXPECT_EQ(clip_grad_norm(NamedTensors{{"p", p}}, limit), 5);
      EXPECT_TRUE(same_bits(p.grad(), g)) << limit;
    }
    EXPECT_EQ(clip_grad_norm(NamedTensors{{"p", p}}, std::nextafter(5., 0)), 5);
    EXPECT_FALSE(same_bits(p.grad(), g));
  }
}

// Squares leave the range of a double, and so may the factor leave that of a gradient.
TEST(Clip, NormsOfAnySize) {
  const Tensor p = zeros({4}, f64), q = zeros({4});
  const auto clip = [&](double of_p, double of_q, double limit) {
    p.set_grad(full({4}, of_p, f64));
    q.set_grad(full({4}, of_q));
    return clip_grad_norm(NamedTensors{{"p", p}, {"q", q}}, limit);
  };
  EXPECT_DOUBLE_EQ(clip(1e200, 1e30, 4), 2e200);
  EXPECT_TRUE(close(p.grad(), full({4}, 2, f64), 1e-12));
  EXPECT_EQ(q.grad().at({0}), 0);
  EXPECT_EQ(clip(1.7e308, 0, 4), INFINITY);  // no double, but there is a direction
  EXPECT_TRUE(close(p.grad(), full({4}, 2, f64), 1e-12));
  EXPECT_DOUBLE_EQ(clip(1e-200, 0, 4e-201), 2e-200);
  EXPECT_GT(clip(1e-200, 0, 1), 0);
  EXPECT_EQ(p.grad().at({0}), 1e-200);
  EXPECT_DOUBLE_EQ(clip(5e-324, 0, 1), 1e-323);
  EXPECT_EQ(clip(0, 0, 1), 0);
  p.set_grad(tensor({1e200, 0., 0., 0.}));  // the unit is the largest element of a gradient, not its least
  EXPECT_DOUBLE_EQ(clip_grad_norm(NamedTensors{{"p", p}}, 4), 1e200);
  p.set_grad(tensor({1e160, 1e-143, 0., 0.}));  // the least keep their digits beside it
  EXPECT_DOUBLE_EQ(clip_grad_norm(NamedTensors{{"p", p}}, 1e100), 1e160);
  EXPECT_NEAR(p.grad().at({1}), 1e-203, 1e-215);
  EXPECT_NEAR(clip(0, 1e38, 1e-4), 2e38, 1e32);  // the factor, 5e-43, has 9 bits in f32
  EXPECT_TRUE(close(q.grad(), full({4}, 5e-5), 1e-6));
  EXPECT_NEAR(clip(1e300, 0, 1e-20), 2e300, 1e290);
  EXPECT_TRUE(close(p.grad(), full({4}, 5e-21, f64), 1e-12));
  EXPECT_EQ(clip(INFINITY, 1, 1), INFINITY);
  EXPECT_EQ(q.grad().at({0}), 1) << "not a direction: as it was";
  EXPECT_TRUE(std::isnan(clip(1e200, NAN, 1)));
  EXPECT_EQ(p.grad().at({0}), 1e200);
  expect_error([&] { clip(1, 1, NAN); }, "[clip_grad_norm] a largest norm of nan");
  expect_error([&] { clip_grad_norm(NamedTensors{{"p", p}, {"u", Tensor()}}, 1); }, "parameter 'u' is undefined");
}

TEST(Clip, ValueClampsEachElement) {
  Linear fc(1, 3, {.bias = false});
  fc.weight.set_grad(tensor<float>({-3, 0.5, 2}, {3, 1}));
  clip_grad_value(fc, 1);
  EXPECT_TRUE(same_bits(fc.weight.grad(), tensor<float>({-1, 0.5, 1}, {3, 1})));
  expect_error([&] { clip_grad_value(fc, -1); }, "[clip_grad_value] a limit of -1");
}

}  // namespace
}  // namespace norma::nn
