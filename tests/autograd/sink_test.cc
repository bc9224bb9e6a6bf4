// The sink: assign first, add later, whatever way a rule leaves its gradients; and rules that misuse it.

#include <functional>

#include "norma/autograd/op.h"
#include "norma/core/backend.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/unary.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
using Values = std::vector<double>;

Tensor leaf(const Shape& shape) {
  Tensor x = ones(shape, f64);
  x.set_requires_grad();
  return x;
}

// An op of these inputs and one output like the first, with this rule; swept with a seed of ones.
void sweep(std::initializer_list<Tensor> inputs, std::function<void(const Tensor& dy, Sink& dx)> rule) {
  Tape tape;
  const Op op("own");
  const Tensor y = op.record(inputs, zeros_like(*inputs.begin()), rule);
  tape.backward(y, {.seed = ones_like(y)});
}

TEST(Sink, AssignsFirstAndAddsLater) {
  const Tensor x = leaf({2});
  std::vector<bool> added;
  const auto rule = [&](const Tensor&, Sink& dx) {
    const auto [grad, add] = dx.into(0);
    EXPECT_EQ(grad.shape(), Shape{2});
    EXPECT_TRUE(grad.is_contiguous());
    added.push_back(add);
    if (add) backend(cpu_device).add_into(grad, full({2}, 3, f64));
    else grad.fill(3);
  };
  sweep({x}, rule);
  sweep({x}, rule);
  EXPECT_EQ(added, (std::vector<bool>{false, true}));
  EXPECT_EQ(x.grad().to_vector<double>(), (Values{6, 6}));
}

TEST(Sink, WritesWithAKernelWhatIsWanted) {
  const Tensor x = leaf({2}), constant = ones({2}, f64);
  const auto kernel = [](double factor, const Tensor& dy, const Tensor& grad, bool add) {
    for (int64_t i = 0; i < 2; ++i) {
      double& to = grad.mutable_data<double>()[i];
      to = (add ? to : 0) + factor * dy.data<double>()[i];
    }
  };
  const auto rule = [&](const Tensor& dy, Sink& dx) {
    dx.write(0, kernel, 3.0, dy);
    dx.write(1, [](const Tensor&, bool) { FAIL() << "nobody wants it"; });
    const Saved saved(dy, "own");  // goes for a tensor
    dx.write(2, kernel, 2.0, saved);
  };
  sweep({x, constant, x}, rule);
  EXPECT_EQ(x.grad().to_vector<double>(), (Values{5, 5}));
  sweep({x, constant, x}, rule);
  EXPECT_EQ(x.grad().to_vector<double>(), (Values{10, 10}));
}

TEST(Sink, OneValueTwiceInEveryOrder) {
  const auto one = [](const Sink::Target& target) {
    if (target.add) backend(cpu_device).add_into(target.grad, ones({2}, f64));
    else target.grad.fill(1);
  };
  const Tensor ten = full({2}, 10, f64);
  for (const bool before : {false, true}) {
    const auto result = [&](std::function<void(Sink&)> leave) {
      const Tensor x = leaf({2});
      if (before) x.set_grad(full({2}, 100, f64));
      sweep({x, x, x}, [&](const Tensor&, Sink& dx) { leave(dx); });
      return x.grad().at({1}) - (before ? 100 : 0);
    };
    EXPECT_EQ(result([&](Sink& dx) { one(dx.into(0)), one(dx.into(1)), one(dx.into(2)); }), 3);
    EXPECT_EQ(result([&](Sink& dx) { dx.give(0, ten), dx.give(1, ten), dx.give(2, ten); }), 30);
    EXPECT_EQ(result([&](Sink& dx) { one(dx.into(0)), dx.give(1, ten), one(dx.into(2)); }), 12);
    EXPECT_EQ(result([&](Sink& dx) { dx.give(0, ten), one(dx.into(1)), dx.give(2, ten); }), 21);
    EXPECT_EQ(result([&](Sink& dx) {  // as a kernel that writes both at once
                const Sink::Target first = dx.into(0), second = dx.into(1);
                one(second), one(first);
              }),
              2);
    EXPECT_EQ(result([&](Sink& dx) { dx.give(2, ten); }), 10);
    EXPECT_EQ(ten.at({0}), 10);
  }
}

TEST(Sink, TakesViews) {
  const Tensor x = leaf({2, 3}), y = leaf({2, 3});
  sweep({x, y}, [](const Tensor& dy, Sink& dx) {
    dx.give(0, view::expand(full({1, 1}, 2, f64), {2, 3}));
    dx.give(1, view::permute(view::reshape(dy, {3, 2}), {1, 0}));
  });
  EXPECT_EQ(x.grad().to_vector<double>(), Values(6, 2));
  EXPECT_TRUE(x.grad().is_contiguous());
  EXPECT_EQ(y.grad().to_vector<double>(), Values(6, 1));
  x.grad().fill(5);
  EXPECT_EQ(y.grad().to_vector<double>(), Values(6, 1));
}

TEST(Sink, HandsOutTheMemoryOfAGradientThatNobodyElseWants) {
  Tensor x = leaf({2, 3});
  const Storage* upstream = nullptr;
  // Runs `rule` behind an op that gives it a gradient of its own: 3, everywhere.
  const auto run = [&](const std::function<void(const Tensor& dy, Sink& dx)>& rule) {
    x.set_grad({});
    Tape tape;
    const Op op("own"), outer("outer");
    const Tensor y = op.record({x, x}, ones({2, 3}, f64), rule);
    const Tensor z = outer.record({y}, ones({2, 3}, f64), [&](const Tensor&, Sink& dy) {
      const Tensor own = dy.into(0).grad;
      own.fill(3);
      upstream = own.storage().get();
    });
    tape.backward(z, {.seed = ones({2, 3}, f64)});
    return x.grad().to_vector<double>();
  };
  const auto is_dy = [&](const Tensor& grad) { return grad.storage().get() == upstream; };
  const auto twice = [](const Tensor& dy, const Tensor& to) {
    for (int64_t i = 0; i < 6; ++i) to.mutable_data<double>()[i] = 2 * dy.data<double>()[i];
  };
  EXPECT_EQ(run([&](const Tensor& dy, Sink& dx) {
              const auto [grad, add] = dx.into_or_reuse(0, dy);
              EXPECT_TRUE(is_dy(grad) && !add);
              twice(dy, grad);
            }),
            Values(6, 6));
  EXPECT_EQ(run([&](const Tensor& dy, Sink& dx) {  // once only; and a second contribution to x
              const auto first = dx.into_or_reuse(0, dy), second = dx.into_or_reuse(1, dy);
              EXPECT_TRUE(is_dy(first.grad) && !is_dy(second.grad));
              twice(dy, second.grad);
              twice(dy, first.grad);
            }),
            Values(6, 12));
  EXPECT_EQ(run([&](const Tensor& dy, Sink& dx) {  // somebody else has it
              const Tensor kept = dy.detach();
              const auto [grad, add] = dx.into_or_reuse(0, dy);
              EXPECT_FALSE(is_dy(grad));
              twice(kept, grad);
            }),
            Values(6, 6));
  EXPECT_EQ(run([&](const Tensor& dy, Sink& dx) {  // to be added to
              const Tensor own = dy.clone();
              dx.give(0, own);
              const auto [grad, add] = dx.into_or_reuse(1, dy);
              EXPECT_TRUE(!is_dy(grad) && add);
              backend(cpu_device).add_into(grad, dy);
            }),
            Values(6, 6));
  // Of another shape; a strided one; the caller's seed.
  Tensor wide = leaf({4});
  Tape tape;
  const Op op("own");
  const Tensor y = op.record({wide}, ones({2}, f64), [&](const Tensor& dy, Sink& dx) {
    const auto [grad, add] = dx.into_or_reuse(0, dy);
    grad.fill(dy.shape() == grad.shape() ? 0 : 1);
  });
  const Tensor seed = ones({2}, f64);
  tape.backward(y, {.seed = seed});
  EXPECT_EQ(wide.grad().to_vector<double>(), Values(4, 1));
  Tape again;
  const Tensor z = op.record({x}, ones({2, 3}, f64), [&](const Tensor& dy, Sink& dx) {
    EXPECT_NE(dx.into_or_reuse(0, dy).grad.storage(), dy.storage());
  });
  again.backward(z, {.seed = ones({2, 3}, f64)});
}

TEST(Sink, UnwantedInputs) {
  const Tensor x = leaf({2}), constant = ones({3}, f64);
  sweep({x, constant, Tensor()}, [](const Tensor& dy, Sink& dx) {
    EXPECT_TRUE(dx.wants(0));
    EXPECT_FALSE(dx.wants(1));
    EXPECT_FALSE(dx.wants(2));
    EXPECT_EQ(dx.shape(1), Shape{3});
    dx.give(1, Tensor());  // nothing to give: not looked at
    dx.give(2, dy);
    dx.give(0, dy);
  });
  EXPECT_EQ(x.grad().to_vector<double>(), (Values{1, 1}));
  expect_error(
      [&] {
        sweep({x, constant}, [](const Tensor&, Sink& dx) { (void)dx.into(1); });
      },
      "[own] the rule asks for the gradient of input 1, which wants none");
}

TEST(Sink, RefusesWhatDoesNotFit) {
  const Tensor x = leaf({2});
  expect_error([&] { sweep({x}, [](const Tensor&, Sink& dx) { dx.give(0, ones({3}, f64)); }); },
               "[own] the rule gives a gradient of [3] (f64) for input 0 of [2] (f64)");
  expect_error([&] { sweep({x}, [](const Tensor&, Sink& dx) { dx.give(0, ones({2})); }); },
               "[own] the rule gives a gradient of [2] (f32) for input 0 of [2] (f64)");
  expect_error([&] { sweep({x}, [](const Tensor&, Sink& dx) { dx.give(0, Tensor()); }); },
               "[own] the rule gives an undefined gradient for input 0 of [2] (f64)");
  const std::string want = "[own] the rule speaks of input 1, the op has 1";
  expect_error([&] { sweep({x}, [](const Tensor& dy, Sink& dx) { dx.give(1, dy); }); }, want);
  expect_error([&] { sweep({x}, [](const Tensor&, Sink& dx) { (void)dx.into(1); }); }, want);
  expect_error([&] { sweep({x}, [](const Tensor&, Sink& dx) { (void)dx.wants(1); }); }, want);
  expect_error([&] { sweep({x}, [](const Tensor&, Sink& dx) { (void)dx.shape(1); }); }, want);
  EXPECT_FALSE(x.grad().defined());
}

TEST(Op, ChecksItsTensors) {
  const Op op("own");
  op.check_same({ones({2}), Tensor(), ones({3})});
  expect_error(
      [&] {
        op.check_same({ones({2}), ones({3}, f64)});
      },
      "[own] dtypes differ: f32 of shape [2] and f64 of shape [3]");
  expect_error([&] { op.check_same({ones({2}, i64)}); }, "[own] wants floating tensors, not i64: shape [2]");
  expect_error([&] { op.axis(ones({2}), 1); }, "[own] axis 1 is out of range for shape [2]");
  expect_error([&] { op.check(false, "{} is not {}", 1, 2); }, "[own] 1 is not 2");
}

TEST(Op, SavesForAnInputWhoseGradientIsRecorded) {
  const Tensor x = leaf({2}), constant = ones({2}, f64), kept = ones({2}, f64);
  const Op op("own");
  EXPECT_FALSE(op.save_for(x, kept).defined());  // no tape
  const Tape tape;
  EXPECT_FALSE(op.save_for(constant, kept).defined());
  EXPECT_FALSE(kept.storage()->pinned());
  const Saved saved = op.save_for(x, kept);
  EXPECT_EQ(saved.storage(), kept.storage());
  EXPECT_TRUE(kept.storage()->pinned());
}

TEST(Saved, PinsForAsLongAsACopyLives) {
  const Tensor x = ones({2});
  {
    Saved first(x, "one");
    EXPECT_EQ(first.identity(), x.identity());
    EXPECT_EQ(first.numel(), 2);
    const Saved second = first, third = std::move(first);
    EXPECT_TRUE(x.storage()->pinned());
    EXPECT_STREQ(x.storage()->pinned_by(), "one");
  }
  EXPECT_FALSE(x.storage()->pinned());
  const Saved nothing(Tensor(), "none");
  EXPECT_FALSE(nothing.defined());
}

}  // namespace
}  // namespace norma
