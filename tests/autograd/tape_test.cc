// The tape's contract, one test a clause: what is recorded, what a sweep leaves in the gradients, what it consumes, and
// its errors. The graph's text and the profile are in tape_report_test.cc, the sink in sink_test.cc.
#include "norma/autograd/tape.h"

#include <thread>

#include "norma/autograd/op.h"
#include "norma/core/backend.h"
#include "norma/core/parallel.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/unary.h"
#include "norma/ops/reduce/reduce.h"
#include "norma/ops/shape/views.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

Tensor leaf(std::initializer_list<double> values) {
  Tensor x = tensor(values, values.size());
  x.set_requires_grad();
  return x;
}

std::vector<double> grad(const Tensor& x) { return x.grad().to_vector<double>(); }
using Values = std::vector<double>;

// y = x; its rule calls `during`.
Tensor probe(const Tensor& x, std::function<void()> during) {
  const Op op("probe");
  return op.record({x}, x.clone(), [during = std::move(during)](const Tensor& dy, Sink& dx) {
    during();
    dx.give(0, dy);
  });
}

TEST(Tape, SumsTheGradientsOfAFanOut) {
  const Tensor x = leaf({1, 2, 3});
  Tape tape;
  const Tensor u = mul(x, 2.0);
  const Tensor y = add(add(square(u), u), mul(x, x));  // 4x^2 + 2x + x^2
  tape.backward(sum(y));
  EXPECT_EQ(grad(x), (Values{12, 22, 32}));
}

TEST(Tape, TakesOneValueTwiceInOneOp) {
  const Tensor x = leaf({1, 2});
  const auto gradient = [&](const std::function<Tensor(const Tensor&)>& f) {
    x.set_grad(Tensor());
    Tape tape;
    tape.backward(f(x), {.seed = tensor({10., 20.})});
    return grad(x);
  };
  EXPECT_EQ(gradient([](const Tensor& v) { return mul(v, v); }), (Values{20, 80}));
  EXPECT_EQ(gradient([](const Tensor& v) { return add(v, v); }), (Values{20, 40}));
  EXPECT_EQ(gradient([](const Tensor& v) { return sub(v, v); }), (Values{0, 0}));
  EXPECT_EQ(gradient([](const Tensor& v) {
              const Tensor u = neg(v);
              return add(mul(u, u), add(u, u));
            }),
            (Values{10 * (2 - 2), 20 * (4 - 2)}));
}

// The same dy goes to both: neither gradient may be the other's storage, nor the seed's.
TEST(Tape, GradientsDoNotShareStorage) {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4}), seed = tensor({5., 6.});
  Tape tape;
  tape.backward(add(a, b), {.seed = seed, .retain = true});
  a.grad().fill(0);
  EXPECT_EQ(grad(b), (Values{5, 6}));
  b.grad().fill(1);
  EXPECT_EQ(seed.to_vector<double>(), (Values{5, 6}));
  EXPECT_EQ(grad(a), (Values{0, 0}));

  // A shared gradient, to one holder of which more is added.
  const Tensor c = leaf({1, 2});
  const Tensor u = reshape(c, {2, 1}), v = reshape(u, {1, 2});
  tape.backward(add(reshape(u, {2}), add(mul(reshape(v, {2}), 3.0), c)), {.seed = seed});
  EXPECT_EQ(grad(c), (Values{25, 30}));
  EXPECT_EQ(seed.to_vector<double>(), (Values{5, 6}));
}

TEST(Tape, OneTensorAsTheGradientOfTwoLeaves) {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4}), start = tensor({100., 200.});
  a.set_grad(start);
  b.set_grad(start);
  Tape tape;
  tape.backward(add(a, mul(b, 2.0)), {.seed = tensor({1., 1.})});
  EXPECT_EQ(grad(a), (Values{101, 201}));
  EXPECT_EQ(grad(b), (Values{102, 202}));
  EXPECT_EQ(start.to_vector<double>(), (Values{100, 200}));
}

TEST(Tape, LeavesAccumulateAcrossSweepsAndTapes) {
  const Tensor x = leaf({3});
  for (int i = 1; i <= 3; ++i) {
    Tape tape;
    tape.backward(square(x));
    EXPECT_EQ(grad(x), Values{6.0 * i});
  }
  const Tensor held = x.grad();
  Tape tape;
  tape.backward(square(x));
  EXPECT_EQ(held.item(), 24);  // added in place
  EXPECT_EQ(x.grad().identity(), held.identity());
  x.set_grad(Tensor());
  tape.backward(mul(x, 2.0));
  EXPECT_EQ(grad(x), Values{2});
}

TEST(Tape, UnreachedLeavesGetNothing) {
  const Tensor x = leaf({1}), y = leaf({2}), z = leaf({3});
  z.set_grad(tensor({7.}));
  Tape tape;
  const Tensor loss = square(x);
  square(y);
  square(z);
  tape.backward(loss);
  EXPECT_FALSE(y.grad().defined());
  EXPECT_EQ(grad(z), Values{7});
}

TEST(Tape, SeedsFitTheLoss) {
  const Tensor x = leaf({1, 2});
  Tape tape;
  const Tensor y = square(x);
  expect_error([&] { tape.backward(y); }, "[backward] a loss of shape [2] needs a seed gradient of that shape");
  expect_error(
      [&] {
        tape.backward(y, {.seed = ones({2, 1}, f64)});
      },
      "[backward] the seed is [2, 1] (f64, cpu), the loss is [2] (f64, cpu)");
  expect_error([&] { tape.backward(y, {.seed = ones({2})}); }, "[backward] the seed is [2] (f32");
  tape.backward(y, {.seed = view::expand(tensor({2.}), {2})});
  EXPECT_EQ(grad(x), (Values{4, 8}));
}

TEST(Tape, WantsALossOfItsOwn) {
  const Tensor x = leaf({1});
  const Tensor before = square(x);
  Tape tape;
  const std::string want = "[backward] the loss was not recorded on this tape";
  expect_error([&] { tape.backward(before); }, want);
  expect_error([&] { tape.backward(x); }, want);
  expect_error([&] { tape.backward(square(tensor({1.}))); }, want);
  expect_error([&] { tape.backward(Tensor()); }, "an undefined tensor was used");
}

TEST(Tape, ASweepConsumesUnlessRetained) {
  const Tensor x = leaf({3});
  Tape tape;
  const Tensor y = square(x);
  tape.backward(y, {.retain = true});
  EXPECT_EQ(tape.entries().size(), 1u);
  EXPECT_EQ(tape.leaf_id(x), 0);
  tape.backward(y);
  EXPECT_EQ(grad(x), Values{12});
  EXPECT_TRUE(tape.entries().empty());
  EXPECT_EQ(tape.leaf_id(x), -1);
  expect_error([&] { tape.backward(y); }, "[backward] a second sweep: the records were consumed by the first");
  tape.backward(square(x));  // the tape records on
  EXPECT_EQ(grad(x), Values{18});
}

TEST(Tape, AConsumedRecordIsNotPassedOver) {
  const Tensor x = leaf({3}), w = leaf({5});
  Tape tape;
  const Tensor u = square(x);
  tape.backward(exp(u));
  const Tensor g = x.grad().clone();
  const Tensor y = mul(u, w);
  expect_error([&] { tape.backward(y); },
               "[backward] the gradient reaches an input of 'mul' (shape [1]) whose record an earlier sweep consumed");
  EXPECT_FALSE(w.grad().defined());  // nothing was touched
  EXPECT_TRUE(same_bits(x.grad(), g));
  tape.backward(mul(u.detach(), w));
  EXPECT_EQ(grad(w), Values{9});
}

TEST(Tape, ValuesOfOtherTapesAreConstants) {
  const Tensor x = leaf({2}), w = leaf({3});
  Tape outer;
  const Tensor state = square(x);
  {
    Tape inner;
    EXPECT_EQ(Tape::current(), &inner);
    EXPECT_FALSE(Op::records({state}));
    const Tensor y = mul(state, w);
    inner.backward(y);
  }
  EXPECT_EQ(grad(w), Values{4});
  EXPECT_FALSE(x.grad().defined());
  EXPECT_EQ(Tape::current(), &outer);
  outer.backward(state);
  EXPECT_EQ(grad(x), Values{4});
}

TEST(Tape, EndsInAnyOrder) {
  auto outer = std::make_unique<Tape>();
  auto inner = std::make_unique<Tape>();
  outer.reset();
  EXPECT_EQ(Tape::current(), inner.get());
  inner.reset();
  EXPECT_EQ(Tape::current(), nullptr);
  EXPECT_FALSE(square(leaf({1})).requires_grad());
}

TEST(Tape, NothingIsRecordedWithoutNeed) {
  const Tensor x = leaf({1}), constant = tensor({2.});
  EXPECT_EQ(Tape::current(), nullptr);
  EXPECT_FALSE(square(x).requires_grad());
  Tape tape;
  EXPECT_FALSE(square(constant).requires_grad());
  {
    const NoGrad once;
    {
      const NoGrad twice;
      EXPECT_FALSE(square(x).requires_grad());
    }
    EXPECT_FALSE(square(x).requires_grad());
    EXPECT_FALSE(Op::records({x}));
    EXPECT_EQ(Tape::current(), nullptr);
  }
  EXPECT_FALSE(square(x.detach()).requires_grad());
  EXPECT_TRUE(tape.entries().empty());
  EXPECT_TRUE(square(x).requires_grad());
  EXPECT_EQ(tape.entries().size(), 1u);
}

TEST(Tape, DetachCutsTheGradient) {
  const Tensor x = leaf({3});
  Tape tape;
  const Tensor u = square(x);
  tape.backward(mul(u, u.detach()));
  EXPECT_EQ(grad(x), Values{54});  // 9 * 2x
}

TEST(Tape, RequiresGradIsForLeaves) {
  Tensor x = leaf({1});
  EXPECT_TRUE(x.is_leaf());
  Tape tape;
  Tensor y = square(x);
  EXPECT_TRUE(y.requires_grad());
  EXPECT_FALSE(y.is_leaf());
  expect_error([&] { y.set_requires_grad(); }, "[requires_grad] only for leaves");
  Tensor cut = y.detach();
  EXPECT_TRUE(cut.is_leaf());
  cut.set_requires_grad();
  EXPECT_TRUE(square(cut).requires_grad());
  x.set_requires_grad(false);
  EXPECT_FALSE(square(x).requires_grad());
}

TEST(Tape, SavedTensorsAreFreedAsTheSweepPasses) {
  constexpr int64_t kBytes = 1 << 20;
  Tensor x = full({kBytes / 8}, 1, f64);
  x.set_requires_grad();
  const int64_t before = cpu_memory().stats().bytes_in_use;
  int64_t at_the_end = 0;
  {
    Tape tape;
    Tensor y = probe(x, [&] { at_the_end = cpu_memory().stats().bytes_in_use; });
    for (int i = 0; i < 8; ++i) y = sigmoid(y);  // each keeps its output
    y = sum(y);
    EXPECT_GE(cpu_memory().stats().bytes_in_use, before + 8 * kBytes);
    tape.backward(y);
    EXPECT_LE(at_the_end, before + 3 * kBytes);
    EXPECT_LE(cpu_memory().stats().bytes_in_use, before + kBytes + (1 << 16));  // the gradient, while the tape lives
  }
  {
    Tape tape;
    Tensor y = x;
    for (int i = 0; i < 8; ++i) y = sigmoid(y);
  }
  EXPECT_LE(cpu_memory().stats().bytes_in_use, before + kBytes + (1 << 16));
}

TEST(Tape, ASteadyStateAsksTheSystemForNothing) {
  Tensor x = random({100, 50}), w = random({50});
  w.set_requires_grad();
  const auto step = [&] {
    Tape tape;
    Tensor y = x;
    for (int i = 0; i < 20; ++i) y = sigmoid(add(mul(y, w), w));
    tape.backward(sum(y));
    w.set_grad(Tensor());
  };
  step();
  step();
  const MemoryStats before = cpu_memory().stats();
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(cpu_memory().stats().system_calls, before.system_calls);
  EXPECT_EQ(cpu_memory().stats().bytes_in_use, before.bytes_in_use);
}

TEST(Tape, WritesIntoSavedTensorsAreErrors) {
  const Tensor x = leaf({1, 2});
  Tape tape;
  const Tensor y = square(x);
  expect_error([&] { x.fill(0); }, "(op 'square')");
  expect_error([&] { x.mutable_data<double>(); }, "(op 'square')");
  tape.backward(y, {.seed = ones({2}, f64), .retain = true});
  expect_error([&] { x.fill(0); }, "(op 'square')");
  tape.backward(y, {.seed = ones({2}, f64)});
  x.fill(4);  // consumed: an optimizer may write
  EXPECT_EQ(grad(x), (Values{4, 8}));
  {
    Tape other;
    const Tensor z = exp(x);  // keeps its output
    x.fill(5);
    expect_error([&] { z.fill(0); }, "(op 'exp')");
    square(x);
    expect_error([&] { x.fill(0); }, "(op 'square')");
  }
  x.fill(6);
}

TEST(Tape, WatchKeepsAGradientInTheMiddle) {
  const Tensor x = leaf({1, 2});
  Tape tape;
  const Tensor u = square(x), unused = neg(x), loss = sum(mul(u, 3.0));
  tape.watch(u);
  tape.watch(unused);
  tape.watch(loss);
  EXPECT_FALSE(tape.grad_of(u).defined());
  tape.backward(loss, {.retain = true});
  EXPECT_EQ(tape.grad_of(u).to_vector<double>(), (Values{3, 3}));
  EXPECT_EQ(tape.grad_of(loss).item(), 1);
  EXPECT_FALSE(tape.grad_of(unused).defined());
  tape.backward(unused, {.seed = ones({2}, f64)});
  EXPECT_FALSE(tape.grad_of(u).defined());  // of the last sweep
  EXPECT_EQ(tape.grad_of(unused).to_vector<double>(), (Values{1, 1}));
  expect_error([&] { (void)tape.grad_of(x); }, "[grad_of] the value was not watched on this tape: shape [2]");
  expect_error([&] { tape.watch(x); }, "[watch] the value was not recorded on this tape: shape [2]");
}

TEST(Tape, CheckFiniteNamesTheOp) {
  const Tensor x = leaf({0, 1});
  {
    Tape tape({.check_finite = true});
    const Tensor y = square(x);
    expect_error([&] { log(y); }, "[log] output holds a NaN or an infinity: shape [2]");
  }
  Tape tape({.check_finite = true});
  const Tensor y = sum(neg(sqrt(mul(x, 2.0))));
  expect_error([&] { tape.backward(y); }, "[sqrt] gradient holds a NaN or an infinity: input of shape [2]");
  Tape off;
  off.backward(sum(log(x)));
  EXPECT_TRUE(std::isinf(x.grad().at({0})));
}

TEST(Tape, CheckFinitePassesIntegers) {
  const Tensor x = leaf({0, 1});
  Tape tape({.check_finite = true});
  const Op op("places");
  const std::array<Tensor, 2> y = {x.clone(), arange(2)};  // values, and where they come from
  op.record_all(std::span(&x, 1), y, [](std::span<const Tensor> dy, Sink& dx) { dx.give(0, dy[0]); });
  tape.backward(sum(y[0]));
  EXPECT_EQ(grad(x), (Values{1, 1}));
}

TEST(Tape, ARuleThatThrowsLeavesTheTapeUsable) {
  const Tensor x = leaf({2}), w = leaf({3});
  Tape tape;
  const Tensor y = mul(probe(mul(x, 2.0), [] { fail("probe", "stop"); }), w);
  expect_error([&] { tape.backward(y, {.retain = true}); }, "[probe] stop");
  EXPECT_EQ(tape.entries().size(), 3u);
  expect_error([&] { tape.backward(y); }, "[probe] stop");
  EXPECT_TRUE(tape.entries().empty());
  EXPECT_EQ(Tape::current(), &tape);
  w.fill(4);  // nothing is saved any more
  x.set_grad(Tensor());
  w.set_grad(Tensor());
  tape.backward(mul(x, w));
  EXPECT_EQ(grad(x), Values{4});
  EXPECT_EQ(grad(w), Values{2});
}

TEST(Tape, RulesAreNotRecorded) {
  const Tensor x = leaf({2});
  Tape tape;
  bool recording = true;
  const Tensor y = probe(x, [&] { recording = Op::records({x}); });
  tape.backward(y, {.retain = true});
  EXPECT_FALSE(recording);
  EXPECT_EQ(tape.entries().size(), 1u);
  EXPECT_FALSE(x.grad().requires_grad());
}

// halves(x): its lower and its upper half; the gradient of one of them may be missing.
std::pair<Tensor, Tensor> halves(const Tensor& x) {
  const Op op("halves");
  const int64_t n = x.dim(0);
  const std::array<Tensor, 2> y = {view::slice(x, 0, 0, n / 2).clone(), view::slice(x, 0, n / 2, n).clone()};
  op.record_all(std::span(&x, 1), y, [n](std::span<const Tensor> dy, Sink& dx) {
    const auto [grad, add] = dx.into(0);
    if (!add) grad.fill(0);
    for (int i = 0; i < 2; ++i)
      if (dy[static_cast<size_t>(i)].defined())
        backend(cpu_device).add_into(view::slice(grad, 0, i * n / 2, (i + 1) * n / 2), dy[static_cast<size_t>(i)]);
  });
  return {y[0], y[1]};
}

TEST(Tape, SeveralOutputs) {
  const Tensor x = leaf({1, 2, 3, 4});
  Tape tape;
  const auto [low, high] = halves(x);
  tape.backward(sum(mul(low, high)), {.retain = true});
  EXPECT_EQ(grad(x), (Values{3, 4, 1, 2}));
  x.set_grad(Tensor());
  tape.backward(sum(square(high)));
  EXPECT_EQ(grad(x), (Values{0, 0, 6, 8}));
}

TEST(Tape, OpsReturnFreshTensors) {
  const Tensor x = leaf({1}), constant = tensor({2.});
  Tape tape;
  const Op op("lazy");
  const auto rule = [](const Tensor&, Sink&) {};
  const std::string want = "[lazy] an op must return a fresh tensor";
  expect_error([&] { op.record({x}, x, rule); }, want);
  const Tensor y = square(x);
  expect_error([&] { op.record({x}, y, rule); }, want);
  expect_error([&] { op.record({x, constant}, constant, rule); }, want);
  EXPECT_TRUE(constant.is_leaf());
  EXPECT_EQ(tape.entries().size(), 1u);  // what was refused is not on the tape
}

TEST(Tape, LongChainsAreWalkedNotRecursed) {
  const Tensor x = leaf({1});
  Tape tape;
  Tensor y = x;
  for (int i = 0; i < 200'000; ++i) y = neg(y);
  tape.backward(y);
  EXPECT_EQ(grad(x), Values{1});
}

TEST(TapeThreads, EachThreadHasItsOwn) {
  const Tensor shared = tensor({1., 2., 3.});
  Tape mine;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      wrong += Tape::current() != nullptr;
      const Tensor w = leaf({double(t), 1, 2});
      for (int i = 0; i < 50; ++i) {
        w.set_grad(Tensor());
        Tape tape;
        tape.backward(sum(mul(square(w), shared)));
        wrong += grad(w) != Values{2.0 * t, 4, 12};
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(mine.entries().empty());
}

TEST(TapeThreads, SeveralRunInferenceOnOneModel) {
  Tensor w = random({64, 3});
  w.set_requires_grad();
  const auto model = [&](const Tensor& x) { return sum(sigmoid(mul(add(x, w), w))).item(); };
  const Tensor x = random({64, 3}, 9);
  const double want = model(x);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) wrong += model(x) != want;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  w.fill(0);  // nothing is left pinned
}

TEST(TapeThreads, GradientsHaveTheSameBits) {
  const int before = num_threads();
  std::vector<Tensor> gradients;
  for (int threads : {1, 4}) {
    set_num_threads(threads);
    Tensor x = random({300, 70}), w = random({70}, 8);
    w.set_requires_grad();
    Tape tape;
    tape.backward(sum(sigmoid(add(mul(x, w), mul(w, w)))));
    gradients.push_back(w.grad());
  }
  set_num_threads(before);
  EXPECT_TRUE(same_bits(gradients[0], gradients[1]));
}

}  // namespace
}  // namespace norma
