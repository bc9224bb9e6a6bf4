// A training step that finds no memory: whichever allocation fails, there is a clear error, nothing is left behind, the
// model has made the whole step or none, and the next step goes as if nothing had been. On a device it is the device's
// memory that fails: of the host's, the emulation takes some in the middle of its kernels.
#include "norma/core/parallel.h"
#include "norma/nn/layers.h"
#include "norma/nn/optim/adam.h"
#include "norma/nn/optim/muon.h"
#include "norma/nn/optim/sgd.h"
#include "norma/nn/sequential.h"
#include "norma/ops/reduce/cross_entropy.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

// While it lives, the n-th allocation of a pool fails (counted from 1).
struct FailingAllocation {
  FailingAllocation(MemoryPool& of, int64_t n) : pool(of) { pool.fail_at(n); }
  ~FailingAllocation() { pool.fail_at(0); }
  MemoryPool& pool;
};

std::vector<Tensor> copies(Module& model) {
  std::vector<Tensor> result;
  for (const auto& [_, x] : model.state_dict()) result.push_back(x.clone());
  return result;
}

bool all_same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (!same_bits(a[i], b[i])) return false;
  return true;
}

template <class Optim, class Options>
void fail_each_allocation(const Options& options, double max_norm) {
  MemoryPool& pool = backend(test_device()).memory();
  manual_seed(5);
  Generator data(7);
  Sequential net(Conv2d(3, 8, 3, {.padding = 1}, {.bias = false}), BatchNorm(8), ReLU(),
                 Conv2d(8, 8, 3, {.padding = 1}, {.bias = false}), GroupNorm(2, 8), MaxPool2d(2), Dropout(0.25),
                 Flatten(), Linear(8 * 4 * 4, 5));
  net.to(test_device());
  Optim optimizer(net, options);
  const Tensor x = there(randn({4, 8, 8, 3}, data)), labels = there(tensor<int64_t>({0, 3, 4, 1}));
  const auto step = [&] {
    optimizer.zero_grad();
    Tape tape;
    tape.backward(cross_entropy(net(x), labels));
    clip_grad_norm(optimizer.parameters(), max_norm);
    optimizer.step();
  };
  const NamedTensors state = net.state_dict(), optimizer_state = optimizer.state();
  const auto all = [&] {
    std::vector<Tensor> result = copies(net);
    for (const auto& [_, t] : optimizer_state) result.push_back(t.clone());
    return result;
  };
  step();  // gradients, scratch and whatever else stays
  optimizer.zero_grad();
  const std::vector<Tensor> before = all();
  const Generator::State generator = default_generator().state();
  step();
  optimizer.zero_grad();
  const std::vector<Tensor> after = all();
  ASSERT_FALSE(all_same(before, after));
  const auto restore = [&] {
    for (size_t i = 0; i < before.size(); ++i)
      (i < state.size() ? state[i] : optimizer_state[i - state.size()]).second.copy_from(before[i]);
    default_generator().set_state(generator);
  };

  const int64_t in_use = pool.stats().bytes_in_use;
  int64_t failed = 0;
  for (bool done = false; !done; ++failed) {
    restore();
    try {
      const FailingAllocation failing(pool, failed + 1);
      step();
      done = true;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("[memory] cannot allocate"), std::string::npos) << error.what();
    }
    EXPECT_EQ(Tape::current(), nullptr);
    optimizer.zero_grad();
    ASSERT_EQ(pool.stats().bytes_in_use, in_use) << "allocation " << failed + 1 << " left something behind";
    if (done) break;
    // All that is trained and the optimizer's state stay as they were; of the buffers, each norm's have moved together
    // or not at all.
    const std::vector<Tensor> now = all();
    bool moved = false, stayed = false;
    for (size_t i = 0; i < now.size(); ++i) {
      const bool buffer = i < state.size() && !state[i].second.requires_grad();
      const bool same = same_bits(now[i], before[i]);
      EXPECT_TRUE(same || (buffer && same_bits(now[i], after[i]))) << "allocation " << failed + 1 << ", tensor " << i;
      if (buffer) (same ? stayed : moved) = true;
    }
    EXPECT_FALSE(moved && stayed) << "allocation " << failed + 1 << ": a population has moved in part";
    restore();
    step();
    optimizer.zero_grad();
    ASSERT_TRUE(all_same(all(), after)) << "the step after allocation " << failed + 1 << " failed";
  }
  EXPECT_GT(failed, test_device().is_cpu() ? 100 : 50);
}

TEST(NoMemory, WhicheverAllocationOfAStepFails) {
  // So that the n-th is always the same; and threads keep some room, from when they first happen to work on.
  const int threads = num_threads();
  set_num_threads(1);
  fail_each_allocation<SGD>(SGDOptions{.lr = 0.1, .momentum = 0.9}, 1e-3);
  fail_each_allocation<AdamW>(AdamOptions{.lr = 0.1}, 1e9);
  fail_each_allocation<Muon>(MuonOptions{.lr = 0.1}, 1e9);
  set_num_threads(threads);
}

}  // namespace
}  // namespace norma::nn
