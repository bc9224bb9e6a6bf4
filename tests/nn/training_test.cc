// A small network, trained: it learns, in the same bits on any number of threads, and without system allocations.
#include <filesystem>

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

struct Net : nn::Module {
  nn::Conv2d conv1{1, 6, 3, {.padding = 1}, {.bias = false}}, conv2{6, 12, 3, {.stride = 2, .padding = 1}};
  nn::Norm bn1 = nn::BatchNorm(6);
  nn::Dropout drop{0.1};
  nn::Linear fc{12 * 4 * 4, 3};
  NORMA_VISIT(conv1, bn1, conv2, drop, fc)
  Tensor forward(const Tensor& x) override {
    return fc(drop(flatten(relu(conv2(max_pool2d(relu(bn1(conv1(x))), {.kernel = 2}))))));
  }
};

struct Result {
  double first = 0, last = 0;
  int64_t system_calls = 0;
  Tensor weight;
};

// Three classes: a bright patch in one of three places, in noise.
Result train(int threads) {
  const int before = num_threads();
  set_num_threads(threads);
  manual_seed(4);
  Generator data(9);
  Net net;
  nn::SGD optimizer(net, {.momentum = 0.9,
                          .nesterov = true,
                          .weight_decay = 1e-4,
                          .groups = {{nn::is_norm_or_bias, {.weight_decay = 0}}}});
  const nn::WarmUp schedule{nn::CosineLR{.lr = 0.05, .steps = 30}, 4};
  Result result;
  for (int64_t step = 0; step < 30; ++step) {
    const int64_t calls = cpu_memory().stats().system_calls;
    Tensor x = randn({24, 16, 16, 1}, data), labels = empty({24}, i64);
    for (int64_t i = 0; i < 24; ++i) {
      labels.mutable_data<int64_t>()[i] = i % 3;
      const Tensor patch = view::slice(view::slice(x, 0, i, i + 1), 1, 5 * (i % 3), 5 * (i % 3) + 5);
      patch.copy_from(patch + 1.0);
    }
    optimizer.set_lr(schedule(step));
    optimizer.zero_grad();
    Tape tape;
    const Tensor loss = cross_entropy(net(x), labels);
    tape.backward(loss);
    nn::clip_grad_norm(optimizer.parameters(), 5);
    optimizer.step();
    (step == 0 ? result.first : result.last) = loss.item();
    if (step >= 3) result.system_calls += cpu_memory().stats().system_calls - calls;
  }
  result.weight = net.fc.weight;
  set_num_threads(before);
  return result;
}

TEST(Training, LearnsInTheSameBitsOnAnyNumberOfThreads) {
  const Result one = train(1), three = train(3);
  EXPECT_GT(one.first, 0.8);
  EXPECT_LT(one.last, 0.1);
  EXPECT_TRUE(same_bits(one.weight, three.weight));
  EXPECT_EQ(one.system_calls, 0);  // of several threads, chance says how many blocks are in use at once
}

// Pictures of another size in each step: what the pool keeps is bounded by what the largest step needs.
TEST(Training, OfVaryingSizesReservesAtMostTwiceItsPeak) {
  cpu_memory().trim();
  nn::Sequential net(nn::Conv2d(3, 8, 3, {.padding = 1}), nn::ReLU(), nn::Conv2d(8, 8, 3, {.padding = 1}),
                     nn::GlobalAvgPool());
  nn::SGD optimizer(net, {.lr = 1e-3});
  Generator sizes(1);
  int64_t peak = 0;
  for (int step = 0; step < 60; ++step) {
    optimizer.zero_grad();
    Tape tape;
    tape.backward(mean(square(net(rand({2, 16 + sizes.below(48), 16 + sizes.below(48), 3})))));
    optimizer.step();
    peak = std::max(peak, cpu_memory().stats().peak_bytes);
    ASSERT_LE(cpu_memory().stats().bytes_reserved, 2 * peak) << "step " << step;
  }
}

}  // namespace
}  // namespace norma
