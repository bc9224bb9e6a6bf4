// Several sweeps over one tape, and the tape's edges: what a sweep consumes and what it leaves, what may then be
// written to, rules and ops that break the contract, and what is left behind when one throws.

#include "norma/autograd/op.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/unary.h"
#include "norma/ops/reduce/reduce.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
using Values = std::vector<double>;

Tensor leaf(std::initializer_list<double> values) {
  Tensor x = tensor(values, values.size());
  x.set_requires_grad();
  return x;
}

Values grad(const Tensor& x) { return x.grad().to_vector<double>(); }

// y = x, by a rule of one's own.
Tensor own(const Tensor& x, std::function<void(const Tensor& dy, Sink& dx)> rule) {
  const Op op("own");
  return op.record({x}, x.clone(), std::move(rule));
}

// As one trains a GAN: the generator runs once, and its pass is differentiated after the discriminator's step.
TEST(TapeSweeps, ConsumeOnlyWhatTheyReach) {
  const Tensor g = leaf({2}), d = leaf({3});
  Tape tape;
  const Tensor fake = mul(square(g), 5.0);  // 20
  tape.backward(mul(fake.detach(), d));
  EXPECT_EQ(grad(d), Values{20});
  EXPECT_EQ(tape.entries().size(), 2u);
  EXPECT_EQ(tape.leaf_id(d), -1);
  EXPECT_EQ(tape.leaf_id(g), 0);
  d.fill(7);  // the discriminator's step
  tape.backward(mul(fake, d));
  EXPECT_EQ(grad(g), Values{7 * 5 * 4});
  EXPECT_TRUE(tape.entries().empty());
}

// What two losses share is consumed by the first sweep; the rest of the second loss is still there.
TEST(TapeSweeps, SharedRecordsAreStillConsumed) {
  const Tensor x = leaf({3}), w = leaf({5});
  Tape tape;
  const Tensor u = square(x), a = exp(u), b = mul(u, w);
  tape.backward(a);
  expect_error([&] { tape.backward(b); }, "[backward] the gradient reaches an input of 'mul' (shape [1]) whose record");
  expect_error([&] { tape.backward(a); }, "[backward] a second sweep: the records were consumed by the first");
  EXPECT_FALSE(w.grad().defined());
  const Tensor late = mul(x, w);  // leaves get new numbers where they are used again
  tape.backward(late);
  EXPECT_EQ(grad(w), Values{3});
}

// Whatever a tape that lives on has swept before: the numbers of its values grow, what it remembers of them does not.
TEST(TapeSweeps, SharedRecordsAreStillConsumedOnATapeThatLivesOn) {
  const Tensor x = leaf({3}), w = leaf({5});
  Tape tape;
  for (int step = 0; step < 5; ++step) {
    Tensor y = x;
    for (int i = 0; i < 7; ++i) y = neg(y);
    tape.backward(y);
    const Tensor u = square(x), a = exp(u), b = mul(u, w);
    tape.backward(a);
    expect_error([&] { tape.backward(b); }, "[backward] the gradient reaches an input of 'mul' (shape [1]) whose");
    EXPECT_FALSE(w.grad().defined());
  }
}

// The same where nothing else of the second loss is left.
TEST(TapeSweeps, ALossOfNothingButAConsumedValue) {
  const Tensor x = leaf({3});
  Tape tape;
  const Tensor u = square(x), a = exp(u), b = neg(u);
  tape.backward(a);
  expect_error([&] { tape.backward(b); }, "[backward] the gradient reaches an input of 'neg' (shape [1]) whose record");
}

// A branch of which nobody holds the end cannot be swept any more: it does not pile up on a tape that lives on.
TEST(TapeSweeps, DropWhatNobodyCanReachAnyMore) {
  const Tensor x = leaf({3});
  Tape tape;
  Tensor held;
  for (int step = 0; step < 10; ++step) {
    sum(square(exp(x)));  // a number that was looked at
    held = neg(exp(x));
    tape.backward(mul(x, 2.0));
    EXPECT_EQ(tape.entries().size(), 2u) << "the branch that is held";
  }
  tape.backward(held);
  EXPECT_TRUE(tape.entries().empty());
}

TEST(TapeSweeps, LeftBranchesDoNotForbidWriting) {
  const Tensor x = leaf({3});
  Tape tape;
  const Tensor penalty = square(x), metric = square(mul(x, 2.0)), loss = mul(x, 4.0);
  expect_error([&] { x.fill(0); }, "(op 'square')");
  tape.backward(loss);
  x.fill(5);  // as an optimizer's step: what was saved of x is out of date
  expect_error([&] { tape.backward(penalty); },
               "[backward] a tensor that 'square' has saved was written to after an earlier sweep");
  EXPECT_EQ(tape.entries().size(), 3u);
  tape.backward(metric);  // saved another tensor
  EXPECT_EQ(grad(x), Values{4 + 2 * 6 * 2});
  const Tensor fresh = square(x);
  expect_error([&] { x.fill(0); }, "(op 'square')");
  tape.backward(fresh, {.retain = true});
  expect_error([&] { x.fill(0); }, "(op 'square')");  // kept for another sweep
  tape.backward(fresh);
  x.fill(1);
}

TEST(TapeSweeps, RetainKeepsTheReachedAndTheRest) {
  const Tensor x = leaf({3});
  Tape tape;
  const Tensor a = square(x), b = exp(x);
  tape.backward(a, {.retain = true});
  EXPECT_EQ(tape.entries().size(), 2u);
  tape.backward(a);
  EXPECT_EQ(tape.entries().size(), 1u);
  tape.backward(b);
  EXPECT_EQ(grad(x), Values{12 + std::exp(3.0)});
}

TEST(TapeSweeps, UndefinedTensorsAreNamed) {
  Tape tape;
  expect_error([&] { tape.backward(Tensor()); }, "[backward] an undefined tensor was used as the loss");
  expect_error([&] { tape.watch(Tensor()); }, "[watch] an undefined tensor was used");
  expect_error([&] { (void)tape.grad_of(Tensor()); }, "[grad_of] an undefined tensor was used");
  const Tensor x = leaf({1});
  const Op op("own");
  expect_error([&] { op.record({x}, Tensor(), [](const Tensor&, Sink&) {}); }, "[own] an op must return a defined");
  expect_error([&] { op.record_all(std::span(&x, 1), std::vector{ones({1})}, Rule()); }, "[own] has no gradient rule");
  EXPECT_TRUE(tape.entries().empty());
  expect_error([&] { tape.backward(x); }, "is a leaf itself");
}

TEST(TapeSweeps, RulesThatGiveSomethingElseAreErrors) {
  const Tensor x = leaf({1, 2});
  const auto sweep = [&](std::function<void(const Tensor&, Sink&)> rule) {
    Tape tape;
    tape.backward(own(x, std::move(rule)), {.seed = ones({2}, f64)});
  };
  expect_error([&] { sweep([](const Tensor&, Sink& dx) { dx.give(0, Tensor()); }); },
               "[own] the rule gives an undefined gradient for input 0 of [2] (f64)");
  expect_error([&] { sweep([](const Tensor&, Sink& dx) { dx.give(0, ones({2})); }); },
               "[own] the rule gives a gradient of [2] (f32) for input 0 of [2] (f64)");
  expect_error([&] { sweep([](const Tensor&, Sink& dx) { dx.give(0, ones({3}, f64)); }); }, "a gradient of [3] (f64)");
  EXPECT_FALSE(x.grad().defined());
}

TEST(TapeSweeps, ARuleThatThrowsLeavesNoMemoryBehind) {
  const Tensor x = leaf({1, 2});
  const int64_t before = cpu_memory().stats().bytes_in_use;
  {
    Tape tape;
    Tensor y = own(exp(x), [](const Tensor&, Sink& dx) {
      dx.into(0).grad.fill(1);
      fail("own", "stop");
    });
    const Tensor side = sigmoid(x);
    expect_error([&] { tape.backward(sum(square(y))); }, "[own] stop");
    EXPECT_EQ(tape.entries().size(), 1u) << "those that the sweep did not reach";
    EXPECT_FALSE(x.grad().defined());
    x.fill(3);
    tape.backward(sum(mul(side, 2.0)));
    EXPECT_TRUE(x.grad().defined());
    x.set_grad({});
  }
  EXPECT_EQ(cpu_memory().stats().bytes_in_use, before);
}

// A gradient that nobody else holds becomes the leaf's as it is: a copy of each would be seen here.
TEST(TapeSweeps, CopyNoGradientThatIsTheirOwn) {
  constexpr int64_t kBytes = 1 << 20;
  Tensor x = full({kBytes / 8}, 1, f64);
  x.set_requires_grad();
  Tape tape;
  const Op op("own");
  const Tensor y = op.record({x}, ones({1}, f64), [](const Tensor&, Sink& dx) { dx.into(0).grad.fill(3); });
  cpu_memory().reset_peak();
  const int64_t before = cpu_memory().stats().bytes_in_use;
  tape.backward(y);
  EXPECT_LE(cpu_memory().stats().peak_bytes, before + kBytes + (1 << 16));
}

TEST(TapeSweeps, NaNGradientsPass) {
  const Tensor x = leaf({1, 2});
  Tape tape;
  tape.backward(mul(x, 2.0), {.seed = tensor({double{NAN}, 1.})});
  EXPECT_TRUE(std::isnan(x.grad().at({0})));
  EXPECT_EQ(x.grad().at({1}), 2);
}

// Names are kept, wherever they come from.
TEST(TapeSweeps, OpsMayBeNamedByTemporaries) {
  Tensor x = leaf({1});
  Tape tape;
  std::string name = "a name that is longer than a short string";
  const auto record = [&] {
    const Op op(name.c_str());
    return op.record({x}, x.clone(), [saved = op.save(x)](const Tensor&, Sink&) {});
  };
  const Tensor y = record();
  std::fill(name.begin(), name.end(), 'x');
  EXPECT_STREQ(tape.entries()[0].op, "a name that is longer than a short string");
  expect_error([&] { x.fill(1); }, "(op 'a name that is longer than a short string')");
}

TEST(TapeSweeps, FreshTensorsAreExplained) {
  const Tensor x = leaf({1});
  Tape tape;
  const Op op("lazy");
  expect_error([&] { op.record({x}, x, [](const Tensor&, Sink&) {}); }, "detach()");
  expect_error([&] { op.record({x}, square(x), [](const Tensor&, Sink&) {}); }, "NoGrad");
}

}  // namespace
}  // namespace norma
