// A training step in its steady state: the host never waits for the device, and nobody asks the system for memory.
#include "examples/common/digits.h"
#include "examples/common/resnet.h"
#include "tests/cuda_emulation/engine.h"
#include "tests/golden.h"

namespace norma {
namespace {

using cuda_emulation::counters;

const Device kCuda{Device::Kind::cuda, 0};

void expect_no_waits(nn::Module& model, const std::function<Tensor(const data::Batch&)>& output) {
  model.to(kCuda);
  data::DataLoader loader(examples::draw_digits(40, 1), {.batch = 4, .shuffle = true, .device = kCuda});
  nn::SGD optimizer(model, {.lr = 1e-2, .momentum = 0.9});
  // How many batches there are at a time depends on how the loader's thread happens to run. Memory for the most, and
  // for what else of a step is of their size.
  std::vector<Tensor> room;
  for (int64_t i = 0; i < 20; ++i)
    room.insert(room.end(), {Tensor({4, 28, 28, 1}, f32, kCuda), Tensor({4}, i64, kCuda)});
  room.clear();
  int step = 0;
  Tensor loss;
  cuda_emulation::Counters before;
  int64_t calls = 0;
  for (const data::Batch& batch : loader) {
    optimizer.zero_grad();
    Tape tape;
    loss = cross_entropy(output(batch), batch.labels);
    tape.backward(loss);
    optimizer.step();
    if (++step == 6) {
      before = counters();
      calls = backend(kCuda).memory().stats().system_calls;
    }
  }
  EXPECT_EQ(step, 10);
  EXPECT_EQ(counters().waits, before.waits);
  EXPECT_EQ(backend(kCuda).memory().stats().system_calls, calls);
  const double value = loss.item();
  EXPECT_EQ(counters().waits, before.waits + 1);
  EXPECT_TRUE(std::isfinite(value));
}

TEST(Step, OfASmallNetworkWaitsForNothing) {
  manual_seed(1);
  nn::Sequential model(nn::Conv2d(1, 16, 3), nn::BatchNorm(16), nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(),
                       nn::Dropout(0.1), nn::Linear(16 * 13 * 13, 10));
  expect_no_waits(model, [&](const data::Batch& batch) { return model(batch.images); });
}

TEST(Step, OfAResidualNetworkWaitsForNothing) {
  manual_seed(1);
  examples::ResNet model(8, 10, examples::make_batch_norm, 1);
  expect_no_waits(
      model, [&](const data::Batch& batch) { return model(view::slice(view::slice(batch.images, 1, 0, 8), 2, 0, 8)); });
}

TEST(Step, UploadsDoNotOvertakeWhatStillUsesTheirMemory) {
  const Tensor one = full({1000}, 1), two = full({1000}, 2);
  Tensor sum = zeros({1000}, f32, kCuda);
  for (int i = 0; i < 5; ++i) {
    Tensor used = backend(kCuda).upload(one)();
    sum = sum + used;
    used = {};
    backend(kCuda).upload(two);  // into the memory of `used`, which the addition has yet to read; and is not asked for
    const Tensor other = zeros({1000}, f32, kCuda);
    sum = sum + other;
  }
  EXPECT_TRUE(norma::test::close(sum, full({1000}, 5)));
}

TEST(Rules, GiveGradientsWhereTheInputIs) {
  Tensor x = ones({2}).to(kCuda);
  x.set_requires_grad();
  Tape tape;
  const Op op("own");
  const Tensor y = op.record({x}, x.clone(), [](const Tensor&, Sink& dx) { dx.give(0, ones({2})); });
  test::expect_error([&] { tape.backward(y, {.seed = ones_like(x)}); },
                     "[own] the rule gives a gradient on cpu for input 0 on cuda");
}

TEST(Clip, NormsOfAnySizeOnTheDevice) {
  const Tensor p = zeros({4}, f64, kCuda), q = zeros({4}, f32, kCuda);
  for (double size : {1e200, 1e-200, 3.0}) {
    p.set_grad(full({4}, size, f64, kCuda));
    q.set_grad(ones_like(q));
    const double norm = std::hypot(2 * size, 2.0);
    EXPECT_NEAR(nn::clip_grad_norm(NamedTensors{{"p", p}, {"q", q}}, norm / 2), norm, 1e-12 * norm);
    EXPECT_NEAR(p.grad().at({3}), size / 2, 1e-6 * size);
  }
}

}  // namespace
}  // namespace norma
