// PackedWeights: the same bits as without, each form made once, and never what the weights no longer are.
#include "norma/ops/conv/packed_weights.h"

#include <thread>

#include "norma/autograd/tape.h"
#include "norma/ops/conv/conv2d.h"
#include "norma/ops/norm/conv2d_norm.h"
#include "norma/ops/reduce/reduce.h"
#include "norma/ops/shape/views.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

// On the CPU, whatever the test device is: weights elsewhere are passed over.
Tensor floats(const Shape& shape, uint64_t seed) { return random(shape, seed).to(f32).to(Device()); }
Tensor pictures(int64_t n, int64_t size, int64_t channels) { return floats({n, size, size, channels}, n + size); }

const Conv2dOptions kSame = {.padding = 1};

TEST(PackedWeights, GivesTheSameBitsAndMakesEachFormOnce) {
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{3, 16}, {16, 16}, {17, 70}, {64, 160}}) {
    const Tensor w = floats({out, 3, 3, in}, 2), bias = floats({out}, 3);
    const Tensor mean = floats({out}, 4), var = square(floats({out}, 5)) + 0.1;
    const PackedWeights packed({w, bias});
    EXPECT_EQ(packed.bytes(), 0);
    int64_t once = 0;
    for (int turn = 0; turn < 3; ++turn) {
      for (const ConvAlgorithm algorithm : {ConvAlgorithm::winograd, ConvAlgorithm::winograd2, ConvAlgorithm::direct})
        for (int64_t n : {1, 3, 20})
          for (int64_t size : {4, 9, 16}) {
            const Tensor x = pictures(n, size, in);
            const Conv2dOptions options = {.padding = 1, .algorithm = algorithm};
            EXPECT_TRUE(same_bits(conv2d(x, w, bias, options), conv2d(x, w.clone(), bias, options)))
                << static_cast<int>(algorithm) << " " << n << " of " << size << ", " << in << " to " << out;
            const auto both = [&](const Tensor& weight) {
              return conv2d_norm(x, weight, bias, options, whole(), Statistics::given(mean, var), {}, {},
                                 {.activation = Activation::relu()}, Pair(2));
            };
            EXPECT_TRUE(same_bits(both(w), both(w.clone())));
          }
      if (turn == 0) once = packed.bytes();
      EXPECT_EQ(packed.bytes(), once);
    }
    EXPECT_GT(once, 6 * w.bytes());  // 36 / 9, 16 / 9 and 1 times the weight, each at least once
  }
}

TEST(PackedWeights, TellsApartWhatHasTheSameAddress) {
  const Tensor w = floats({48, 3, 3, 16}, 1);
  const Tensor views[] = {w,
                          w.slice(0, 0, 16),
                          w.slice(0, 0, 24),
                          reshape(w, {16, 3, 3, 48}),
                          reshape(w, {24, 3, 3, 32}),
                          reshape(w, {432, 1, 1, 16}),
                          reshape(w, {48, 1, 9, 16}),
                          reshape(w, {48, 9, 1, 16}),
                          reshape(w, {16, 9, 3, 16}),
                          reshape(w, {768, 3, 3, 1})};
  const PackedWeights packed({w});
  for (int turn = 0; turn < 2; ++turn)
    for (const Tensor& view : views) {
      const int64_t channels = view.dim(3), height = view.dim(1);
      Conv2dOptions options = {.padding = {height / 2, view.dim(2) / 2}};
      if (channels == 1) options.groups = 768;
      const Tensor x = pictures(2, 12, channels == 1 ? 768 : channels);
      for (options.algorithm = ConvAlgorithm::automatic;; options.algorithm = ConvAlgorithm::direct) {
        EXPECT_TRUE(same_bits(conv2d(x, view, {}, options), conv2d(x, view.clone(), {}, options))) << view.shape();
        options.dilation = 2;  // other windows, the same form
        options.padding = {height / 2 * 2, view.dim(2) / 2 * 2};
        EXPECT_TRUE(same_bits(conv2d(x, view, {}, options), conv2d(x, view.clone(), {}, options))) << view.shape();
        options.dilation = 1;
        options.padding = {height / 2, view.dim(2) / 2};
        if (options.algorithm == ConvAlgorithm::direct) break;
      }
    }
}

// By every phase of a stride, and by Winograd's turned filters.
TEST(PackedWeights, GradientsHaveTheSameBits) {
  for (const Conv2dOptions& options :
       {kSame, Conv2dOptions{.stride = 2, .padding = 1}, Conv2dOptions{.stride = {3, 2}, .padding = 2}}) {
    Tensor x = pictures(4, 16, 16).set_requires_grad(), same = x.detach().clone().set_requires_grad();
    const Tensor w = floats({16, 3, 3, 16}, 1), other = w.clone();  // as many channels on both sides
    const auto gradient = [&](const Tensor& from, const Tensor& weight) {
      Tape tape;
      const Tensor y = conv2d(from, weight, {}, options);
      tape.backward(sum(y * floats(y.shape(), 5)));
      return from.grad();
    };
    const PackedWeights packed({w});
    for (int turn = 0; turn < 2; ++turn) {
      x.set_grad({}), same.set_grad({});
      EXPECT_TRUE(same_bits(gradient(x, w), gradient(same, other))) << options.stride.h;
      EXPECT_TRUE(same_bits(conv2d(x, w, {}, options), conv2d(x, other, {}, options)));
    }
  }
}

TEST(PackedWeights, ForbidsToWriteWhileItLives) {
  const Tensor w = floats({16, 3, 3, 16}, 1), x = pictures(2, 16, 16);
  for (int turn = 0; turn < 3; ++turn) {
    {
      const PackedWeights packed({w}), also({w, w});
      EXPECT_TRUE(same_bits(conv2d(x, w, {}, kSame), conv2d(x, w.clone(), {}, kSame)));
      expect_error([&] { w.fill(turn); }, "a tensor that PackedWeights or a pending tape entry has saved");
      expect_error([&] { w.slice(0, 0, 1).fill(turn); }, "has saved (op 'PackedWeights')");
    }
    w.fill(turn);
    EXPECT_TRUE(same_bits(conv2d(x, w, {}, kSame), conv2d(x, w.clone(), {}, kSame)));
  }
}

TEST(PackedWeights, OneOfTwoMayEndFirst) {
  const Tensor w = floats({16, 3, 3, 16}, 1), x = pictures(2, 16, 16), y = conv2d(x, w.clone(), {}, kSame);
  auto first = std::make_unique<PackedWeights>(std::vector<Tensor>{w});
  const PackedWeights second({w});
  EXPECT_TRUE(same_bits(conv2d(x, w, {}, kSame), y));
  EXPECT_EQ(second.bytes(), 0);
  first.reset();
  EXPECT_TRUE(same_bits(conv2d(x, w, {}, kSame), y));
  EXPECT_GT(second.bytes(), 0);
  expect_error([&] { w.fill(0); }, "has saved");
}

TEST(PackedWeights, KeepsAlsoTensorsThatNobodyElseHolds) {
  const Tensor x = pictures(2, 16, 16);
  const PackedWeights packed({floats({16, 3, 3, 16}, 1)});
  for (int turn = 0; turn < 20; ++turn) {  // whose addresses are not the one's that is kept
    const Tensor w = floats({16, 3, 3, 16}, 2 + turn);
    EXPECT_TRUE(same_bits(conv2d(x, w, {}, kSame), conv2d(x, w.clone(), {}, kSame)));
  }
  EXPECT_EQ(packed.bytes(), 0);
}

TEST(PackedWeights, PassesOverWhatItDoesNotKeep) {
  const Tensor x = pictures(2, 16, 16);
  const Tensor wide = floats({16, 3, 3, 16}, 1).to(f64), turned = permute(floats({16, 3, 3, 16}, 1), {3, 1, 2, 0});
  const PackedWeights packed({wide, turned});
  EXPECT_TRUE(same_bits(conv2d(x.to(f64), wide, {}, kSame), conv2d(x.to(f64), wide.clone(), {}, kSame)));
  EXPECT_TRUE(same_bits(conv2d(x, turned, {}, kSame), conv2d(x, turned.clone(), {}, kSame)));
  EXPECT_EQ(packed.bytes(), 0);
  wide.fill(1);
  expect_error([] { PackedWeights({Tensor()}); }, "[PackedWeights] an undefined tensor was used");
}

TEST(PackedWeights, PassesOverAnotherDevice) {
  if (test_device().is_cpu()) GTEST_SKIP() << "there is one device";
  const Tensor w = floats({16, 3, 3, 16}, 1).to(test_device()), x = pictures(2, 16, 16).to(test_device());
  const PackedWeights packed({w});
  EXPECT_TRUE(same_bits(conv2d(x, w, {}, kSame), conv2d(x, w.clone(), {}, kSame)));
  EXPECT_EQ(packed.bytes(), 0);
  w.fill(1);
}

TEST(PackedWeightsThreads, MayShareOne) {
  const Tensor w = floats({32, 3, 3, 32}, 1);
  std::vector<Tensor> x, y;
  for (int64_t n = 1; n <= 4; ++n) {
    x.push_back(pictures(n, 16, 32));
    y.push_back(conv2d(x.back(), w, {}, kSame));
  }
  const PackedWeights packed({w});
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 20; ++i) wrong += !same_bits(conv2d(x[(t + i) % 4], w, {}, kSame), y[(t + i) % 4]);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// One thread's PackedWeights ends, and its memory is used again, while another computes with what it has kept.
TEST(PackedWeightsThreads, MayEndWhileAnotherComputes) {
  const Tensor w = floats({64, 3, 3, 64}, 1), x = pictures(1, 24, 64), small = pictures(1, 16, 64),
               y = conv2d(x, w, {}, kSame);
  std::atomic<bool> stop{false};
  std::thread brief([&] {
    const ThreadShare one(1);
    while (!stop) {
      {
        const PackedWeights packed({w});
        conv2d(small, w, {}, kSame);
      }
      std::vector<Tensor> others;
      for (int64_t lanes : {4, 8, 16}) others.push_back(full({36 * (64 * 64 / lanes + 1) * lanes}, 123));
    }
  });
  const ThreadShare one(1);
  int wrong = 0;
  for (int i = 0; i < 100; ++i) {
    const PackedWeights packed({w});
    wrong += !same_bits(conv2d(x, w, {}, kSame), y);
  }
  stop = true;
  brief.join();
  EXPECT_EQ(wrong, 0);
}

// backward_input asks for no form, which is the same as one of no weight.
TEST(PackedWeights, HoldsNothingOfEmptyTensors) {
  const PackedWeights packed({from_blob(nullptr, {0}), zeros({0, 3, 3, 5})});
  const Tensor w = floats({8, 3, 3, 5}, 1), other = floats({8, 3, 3, 5}, 2);
  for (const Tensor& weight : {w, other, w}) {
    Tensor x = pictures(2, 9, 5).set_requires_grad();
    Tape tape;
    const Tensor y = conv2d(x, weight, {}, {.stride = 2, .padding = 1, .algorithm = ConvAlgorithm::direct});
    tape.backward(y, {.seed = floats(y.shape(), 3)});
  }
  EXPECT_EQ(packed.bytes(), 0);
}

}  // namespace
}  // namespace norma
