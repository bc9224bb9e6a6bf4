// Modules: what visit() lists, the paths, moving, modes, observers.
#include "norma/nn/module.h"

#include <memory>
#include <optional>

#include "norma/nn/layers.h"
#include "norma/nn/optim/sgd.h"
#include "norma/nn/sequential.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

std::string names(const NamedTensors& tensors) {
  std::string text;
  for (const auto& [name, _] : tensors) text += name + " ";
  return text;
}

struct Block : Module {
  Linear fc1{3, 3};
  Parameter scale{ones({3})};
  Buffer count_{zeros({}, i64)};
  NORMA_VISIT(fc1, scale, count_)
  Tensor forward(const Tensor& x) override { return fc1(x); }
};

struct Net : Module {
  Linear head_{3, 2, {.bias = false}};
  std::vector<Block> blocks{};
  std::vector<std::unique_ptr<Module>> tail;
  std::optional<Linear> maybe;
  std::shared_ptr<Block> none, some = std::make_shared<Block>();
  std::vector<Parameter> list{Parameter(zeros({1})), Parameter(zeros({2}))};
  Net() {
    for (int i = 0; i < 2; ++i) blocks.emplace_back();
    tail.push_back(std::make_unique<Linear>(2, 2));
  }
  NORMA_VISIT(head_, blocks,  //
              tail, maybe, none, some, list)
};

TEST(Module, NamesEveryKindOfMember) {
  Net net;
  EXPECT_EQ(
      names(net.named_parameters()),
      "list.0 list.1 head.weight blocks.0.scale blocks.0.fc1.weight blocks.0.fc1.bias blocks.1.scale "
      "blocks.1.fc1.weight blocks.1.fc1.bias tail.0.weight tail.0.bias some.scale some.fc1.weight some.fc1.bias ");
  EXPECT_EQ(names(net.named_buffers()), "blocks.0.count blocks.1.count some.count ");
  net.maybe.emplace(1, 1);
  net.none = std::make_shared<Block>();
  EXPECT_EQ(net.parameters().size(), 14u + 2 + 3);
  EXPECT_EQ(net.state_dict().size(), 19u + 4);
}

TEST(Module, ParametersRequireGradAndBuffersDoNot) {
  Block block;
  for (const Tensor& p : block.parameters()) EXPECT_TRUE(p.requires_grad());
  EXPECT_FALSE(block.count_.requires_grad());
  const Tensor mine = ones({2});
  const Parameter p(mine);
  EXPECT_FALSE(mine.requires_grad()) << "the argument's own flag must stay as it is";
}

TEST(Module, ATiedParameterComesOnceButIsSavedTwice) {
  struct Tied : Module {
    Linear a{2, 2}, b{2, 2};
    Tied() { b.weight = a.weight; }
    NORMA_VISIT(a, b)
  } tied;
  EXPECT_EQ(names(tied.named_parameters()), "a.weight a.bias b.bias ");
  EXPECT_EQ(names(tied.state_dict()), "a.weight a.bias b.weight b.bias ");
  tied.to(f64);
  EXPECT_EQ(names(tied.named_parameters()), "a.weight a.bias b.bias ");
  EXPECT_EQ(tied.b.weight.dtype(), f64);
}

template <class P>
concept Clearable = requires(P p) {
  p = {};
};
static_assert(!Clearable<nn::Parameter>);  // ambiguous: p = Parameter() makes it absent

TEST(Parameter, TakesTheValuesOfATensor) {
  nn::Parameter p(zeros({2}));
  const nn::Parameter tied = p;
  const Tensor held = p, values = tensor({1.f, 2.f});
  p.set_grad(ones(2));
  const void *identity = p.identity(), *memory = p.storage()->data();
  p = values;
  EXPECT_EQ(held.to_vector<float>(), (std::vector<float>{1, 2}));  // as an optimizer and a tied layer see it
  EXPECT_EQ(p.identity(), identity);
  EXPECT_EQ(p.storage()->data(), memory);
  EXPECT_TRUE(p.requires_grad() && p.is_leaf() && p.grad().defined() && tied.requires_grad());
  values.fill(9);
  EXPECT_EQ(p.at(1), 2);  // a copy
  p = p * 2;
  p = p.grad();
  p = Tensor(tied);
  EXPECT_EQ(p.to_vector<float>(), (std::vector<float>{1, 1}));
  p.set_requires_grad(false);
  p = values;
  EXPECT_FALSE(p.requires_grad());  // frozen as before

  p = nn::Parameter(ones({3}));  // another Parameter: the handle
  EXPECT_NE(p.identity(), identity);
  EXPECT_EQ(held.at(0), 9);
}

TEST(Parameter, ThatIsAbsentBecomesAClone) {
  nn::Parameter p;
  nn::Buffer b;
  const Tensor values = ones({2});
  p = values, b = values;
  EXPECT_TRUE(p.requires_grad() && !b.requires_grad());
  b = zeros(2);
  EXPECT_EQ(values.at(0), 1);
  EXPECT_EQ(p.at(0), 1);
  EXPECT_EQ(b.at(0), 0);
  EXPECT_FALSE(b.requires_grad());
  p = nn::Parameter();
  EXPECT_FALSE(p.defined());
}

TEST(Parameter, RefusesWhatDoesNotFitAndWhatATapeFollows) {
  nn::Parameter p(ones({2}));
  expect_error([&] { p = zeros({2, 1}); }, "[overwrite] [2, 1] (f32) does not go into [2] (f32)");
  expect_error([&] { p = zeros({2}, f64); }, "[overwrite] [2] (f64) does not go into [2] (f32)");
  expect_error([&] { p = Tensor(); }, "an undefined tensor was used");
  Tape tape;
  const Tensor y = sum(p * p);
  expect_error([&] { p = zeros({2}); }, "[overwrite] a tape follows this");
  const NoGrad guard;
  expect_error([&] { p = zeros({2}); },
               "[copy_from] in-place write into a tensor that PackedWeights or a pending tape entry has saved");
  tape.backward(y);
  p = zeros({2});
  EXPECT_EQ(p.at(0), 0);
}

TEST(Module, DerivedModelsAddToTheirBase) {
  struct More : Block {
    Linear head{3, 1};
    void visit(Visitor& visitor) override {
      Block::visit(visitor);
      visitor.members("head", head);
    }
  } more;
  EXPECT_EQ(names(more.named_parameters()), "scale fc1.weight fc1.bias head.weight head.bias ");
}

// What lies in a module's own memory and is not listed would be neither trained nor saved.
TEST(Module, MembersThatAreNotListedAreFound) {
  struct Forgets : Module {
    Linear a{2, 3}, b{4, 5};
    NORMA_VISIT(a)
  } forgets;
  const std::string want =
      "[Forgets] holds a tensor of shape [5, 4] that visit() does not list: name the member in NORMA_VISIT";
  expect_error([&] { forgets.parameters(); }, want);
  expect_error([&] { SGD optimizer(forgets); }, want);
  expect_error([&] { forgets.state_dict(); }, want);
  expect_error([&] { forgets.to(f64); }, want);
  struct Counts : Module {
    Buffer count{zeros({7}, i64)};
    Parameter scale{ones({3})};
    NORMA_VISIT(scale)
  } counts;
  expect_error([&] { counts.parameters(); }, "[Counts] holds a tensor of shape [7]");
  struct Silent : Module {
    Linear a{2, 3};
  };
  struct Outer : Module {
    Linear first{2, 2};
    Silent inner;
    NORMA_VISIT(first, inner)
  } outer;
  expect_error([&] { outer.parameters(); }, "[Silent] (at 'inner') holds a tensor of shape [3, 2]");
  Sequential net;
  net.add(Silent());
  expect_error([&] { net.parameters(); }, "[Silent] (at '0') holds a tensor of shape [3, 2]");
  struct More : Block {
    Linear head{3, 1};
  };
  Sequential more{More()};
  expect_error([&] { more.parameters(); }, "[More] (at '0') holds a tensor of shape [1, 3]");
  Silent silent;
  expect_error([&] { SGD optimizer(silent); }, "[SGD] no parameters: a module lists its members in NORMA_VISIT");
}

// Left out on purpose: what is held elsewhere, is a handle of what is listed, or is not there.
TEST(Module, MembersMayBeLeftOutOnPurpose) {
  struct Student : Module {
    Linear fc{2, 2};
    std::unique_ptr<Linear> teacher = std::make_unique<Linear>(2, 2);
    Parameter tied{}, absent{};
    NORMA_VISIT(fc)
  } student;
  student.tied = student.fc.weight;
  EXPECT_EQ(names(student.named_parameters()), "fc.weight fc.bias ");
  const Parameter beside(ones({2}));
  std::array<Linear, 2> row = {Linear(1, 1), Linear(1, 1)};
  EXPECT_EQ(row[0].parameters().size(), 2u);
  std::optional<Block> gone;
  gone.emplace();
  gone.reset();
  Net net;
  EXPECT_EQ(net.parameters().size(), 14u);
}

TEST(Module, CallsWantATensorBack) {
  struct Nothing : Module {
    Tensor forward(const Tensor&) override { return {}; }
  } nothing;
  expect_error([&] { nothing(ones({2})); }, "[Nothing] forward returned an undefined tensor: input [2]");
  expect_error([] { Observer observer(nullptr); }, "[Observer] an empty function");
  EXPECT_FALSE(Observer::any());
}

TEST(Module, MovingKeepsTheTensors) {
  Block block;
  const std::vector<Tensor> before = block.parameters();
  Block moved = std::move(block);
  const std::vector<Tensor> after = moved.parameters();
  ASSERT_EQ(before.size(), after.size());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i].identity(), after[i].identity());
  static_assert(!std::is_copy_constructible_v<Block> && !std::is_copy_assignable_v<Sequential>);
  static_assert(std::is_move_assignable_v<Sequential>);
}

TEST(Module, TrainAndEvalReachEveryModule) {
  Net net;
  const auto count = [&] {
    int on = 0, all = 0;
    net.for_each([&](const std::string&, Module& m) {
      on += m.is_training();
      ++all;
    });
    return std::pair(on, all);
  };
  EXPECT_EQ(count(), std::pair(9, 9));
  net.eval();
  EXPECT_EQ(count(), std::pair(0, 9));
  net.blocks[1].train();
  EXPECT_EQ(count(), std::pair(2, 9));
  manual_seed(1);
  const Generator::State state = default_generator().state();
  try {
    const EvalMode evaluation(net);
    EXPECT_EQ(count(), std::pair(0, 9));
    rand({5});
    throw 1;
  } catch (int) {
  }
  EXPECT_EQ(count(), std::pair(2, 9));
  EXPECT_EQ(default_generator().state(), state);

  struct Twice : Module {
    ReLU relu;
    Module* again = &relu;
    NORMA_VISIT(relu, again)
  } twice;
  { const EvalMode evaluation(twice); }
  EXPECT_TRUE(twice.relu.is_training());
}

TEST(Module, ForEachGivesPathsParentsFirst) {
  Sequential net(Linear(1, 2), Sequential(ReLU(), Linear(2, 1)));
  std::string paths;
  net.for_each([&](const std::string& path, Module& m) { paths += path + ":" + m.type() + " "; });
  EXPECT_EQ(paths, ":Sequential 0:Linear 1:Sequential 1.0:ReLU 1.1:Linear ");
}

TEST(Module, ConvertsParametersWithTheirGradients) {
  Sequential net(Linear(2, 2), BatchNorm(2));
  auto& fc = dynamic_cast<Linear&>(net[0]);
  const Tensor before = fc.weight.clone();
  fc.weight.set_grad(ones({2, 2}));
  fc.bias.set_requires_grad(false);
  net.to(f64);
  EXPECT_TRUE(same_bits(fc.weight, before.to(f64)));
  EXPECT_TRUE(fc.weight.requires_grad() && fc.weight.is_leaf());
  EXPECT_FALSE(fc.bias.requires_grad());
  EXPECT_EQ(fc.weight.grad().dtype(), f64);
  net.to(f32);
  EXPECT_TRUE(same_bits(fc.weight, before));
  EXPECT_EQ(net.named_buffers()[0].second.dtype(), f64) << "running statistics stay f64";
  const void* identity = fc.weight.identity();
  net.to(f32);
  net.to(cpu_device);
  EXPECT_EQ(fc.weight.identity(), identity) << "what is there already is not replaced";
  expect_error([&] { net.to(i64); }, "[to] parameters are f32 or f64, not i64");
}

TEST(Module, ZeroGradClears) {
  Linear fc(2, 1);
  fc.weight.set_grad(ones({1, 2}));
  fc.zero_grad();
  EXPECT_FALSE(fc.weight.grad().defined());
}

TEST(Module, SeveralInputsTakeAnOperatorOfTheirOwn) {
  struct Pairwise : Module {
    Linear left{2, 1}, right{3, 1};
    NORMA_VISIT(left, right)
    std::pair<Tensor, Tensor> operator()(const Tensor& a, const Tensor& b) { return {left(a), right(b)}; }
  } net;
  const auto [a, b] = net(ones({1, 2}), ones({1, 3}));
  EXPECT_EQ(a.shape(), b.shape());
  Module& base = net;
  expect_error([&] { base(ones({2, 3})); }, "[Pairwise] has no forward(x) of one tensor: input [2, 3]");
}

TEST(Module, ObserversSeeInnerModulesFirst) {
  Sequential net(Linear(1, 2), ReLU());
  std::string seen, outer;
  const Observer all([&](Module& m, const Tensor&, const Tensor&) { outer += m.type() + " "; });
  {
    const Observer observer([&](Module& m, const Tensor& x, const Tensor& y) {
      seen += m.type() + x.shape().str() + y.shape().str() + " ";
    });
    net(ones({3, 1}));
  }
  EXPECT_EQ(seen, "Linear[3, 1][3, 2] ReLU[3, 2][3, 2] Sequential[3, 1][3, 2] ");
  EXPECT_EQ(outer, "Linear ReLU Sequential ");
  net[0](ones({1, 1}));
  EXPECT_EQ(outer, "Linear ReLU Sequential Linear ");
}

TEST(Sequential, RunsInOrderAndGrows) {
  Sequential net;
  EXPECT_TRUE(same_bits(net(ones({2})), ones({2})));
  Linear& fc = net.add(Linear(2, 1));
  net.add(Tanh());
  const Tensor x = rand({3, 2});
  EXPECT_TRUE(same_bits(net(x), tanh(fc(x))));
  EXPECT_EQ(net.size(), 2u);
  expect_error([&] { net[2]; }, "[Sequential] no module 2 among 2");
}

struct OwnReLU : ReLU {};

// Layers that go in one pass, beside the same ones one by one: outputs to the bit, gradients, populations.
TEST(Sequential, ANormTakesWhatIsBehindItIntoItsPass) {
  Generator generator(3);
  const auto check_net = [&](size_t entries, auto... layers) {
    Sequential net(std::move(layers)...);
    for (int mode = 0; mode < 3; ++mode) {  // training, evaluation, evaluation that is recorded
      net.train(mode == 0);
      Tensor x = randn({5, 8, 8, 16}, generator), skip;
      x.set_requires_grad();
      const auto run = [&](bool fused) {
        std::vector<Tensor> before;
        for (const auto& [_, b] : net.named_buffers()) before.push_back(b.clone());
        x.set_grad({});
        net.zero_grad();
        std::optional<Tape> tape;
        if (mode != 1) tape.emplace();
        Tensor y = x;
        if (fused) y = net(x);
        else
          for (size_t i = 0; i < net.size(); ++i) y = net[i](y);
        std::vector<Tensor> all = {y.detach()};
        if (tape) {
          EXPECT_EQ(tape->entries().size(), fused ? entries : net.size());
          tape->backward(y, {.seed = random(y.shape(), 4).to(f32)});
          all.push_back(x.grad());
          for (const Tensor& p : net.parameters()) all.push_back(p.grad());
        }
        size_t i = 0;
        for (const auto& [_, b] : net.named_buffers()) {
          all.push_back(b.clone());
          b.copy_from(before[i++]);
        }
        return all;
      };
      const std::vector<Tensor> got = run(true), want = run(false);
      EXPECT_TRUE(same_bits(got[0], want[0]));
      for (size_t i = 1; i < got.size(); ++i) EXPECT_TRUE(close(got[i], want[i], 1e-6)) << i;
    }
  };
  const auto bn = [] { return BatchNorm(16); };
  check_net(1, bn(), ReLU());
  check_net(1, bn(), LeakyReLU(0.3));
  check_net(1, bn(), MaxPool2d(2));
  check_net(1, bn(), ReLU(), MaxPool2d({2, 3}));
  check_net(1, bn(), LeakyReLU(), MaxPool2d(2, {.stride = 2}));
  check_net(1, BatchNorm(16, {.activation = Activation::relu()}), MaxPool2d(4));
  check_net(3, Conv2d(16, 16, 1), GroupNorm(4, 16), ReLU(), MaxPool2d(2), Conv2d(16, 4, 1));
  check_net(2, Conv2d(16, 16, 3, {}, {.bias = false}), bn(), ReLU(), MaxPool2d(2));
  check_net(3, Conv2d(16, 16, 3, {}, {.bias = false}), bn(), LeakyReLU(), Tanh());
  check_net(2, LayerNorm(16), ReLU(), MaxPool2d(2));  // the pooling is by itself
  check_net(3, bn(), Tanh(), MaxPool2d(2));
  check_net(2, bn(), ReLU(), MaxPool2d(3, {.stride = 2}));
  check_net(2, bn(), MaxPool2d(3, {.padding = 1}));
  check_net(2, bn(), OwnReLU());
  check_net(2, BatchNorm(16, {.activation = Activation::relu()}), LeakyReLU());
  check_net(2, bn(), MaxPool2d(2), ReLU());
}

TEST(Sequential, ObserversSeeEveryLayer) {
  Sequential net(BatchNorm(16), ReLU(), MaxPool2d(2));
  std::string seen;
  const Observer observer([&](Module& m, const Tensor&, const Tensor& y) { seen += m.type() + y.shape().str() + " "; });
  Tape tape;
  net(randn({2, 4, 4, 16}));
  EXPECT_EQ(seen, "BatchNorm[2, 4, 4, 16] ReLU[2, 4, 4, 16] MaxPool2d[2, 2, 2, 16] Sequential[2, 2, 2, 16] ");
}

}  // namespace
}  // namespace norma::nn
