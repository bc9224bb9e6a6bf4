// Philox against the known answers of Random123, and what is drawn from it.
#include "norma/core/random.h"

#include <numeric>
#include <thread>

#include "norma/core/parallel.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
using Words = std::array<uint32_t, 4>;

// kat_vectors of Random123, philox4x32 with 10 rounds. Ours: key = seed (low word first), counter = index, then stream.
TEST(Random, PhiloxGivesTheKnownAnswers) {
  EXPECT_EQ(philox(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, TensorsTakeTheWordsInOrder) {
  const Tensor x({6}, f64);
  Generator generator(11, 22);
  (void)generator.uniform();  // one block
  generator.fill_uniform(x);
  for (int64_t i = 0; i < 6; ++i)
    EXPECT_EQ(x.at({i}),
              (philox(11, 22, 1 + static_cast<uint64_t>(i / 4))[static_cast<size_t>(i % 4)] + 0.5) * 0x1p-32);
  EXPECT_EQ(generator.state(), (Generator::State{11, 22, 3}));
}

struct SampleMoments {
  double mean, variance, skewness, kurtosis;
};
SampleMoments sample_moments(const Tensor& x) {
  const std::vector<double> values = x.to_vector<double>();
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double m2 = 0, m3 = 0, m4 = 0;
  for (double value : values) {
    const double d = value - mean;
    m2 += d * d / n;
    m3 += d * d * d / n;
    m4 += d * d * d * d / n;
  }
  return {mean, m2, m3 / std::pow(m2, 1.5), m4 / (m2 * m2)};
}

TEST(Random, MomentsAreThoseOfTheDistribution) {  // within five standard errors, n = 200,000
  Generator generator(3);
  const SampleMoments normal = sample_moments(randn({200'000}, generator, f64));
  EXPECT_NEAR(normal.mean, 0, 0.012);
  EXPECT_NEAR(normal.variance, 1, 0.016);
  EXPECT_NEAR(normal.skewness, 0, 0.028);
  EXPECT_NEAR(normal.kurtosis, 3, 0.055);
  const Tensor u = rand({200'000}, generator, f64);
  const SampleMoments uniform = sample_moments(u);
  EXPECT_NEAR(uniform.mean, 0.5, 0.0033);
  EXPECT_NEAR(uniform.variance, 1.0 / 12, 0.0009);
  EXPECT_NEAR(uniform.kurtosis, 1.8, 0.012);

  const Tensor wide({100'000}, f64);
  generator.fill_uniform(wide, -3, 5);
  EXPECT_NEAR(sample_moments(wide).mean, 1, 0.04);
  generator.fill_normal(wide, 10, 0.5);
  EXPECT_NEAR(sample_moments(wide).mean, 10, 0.008);
  EXPECT_NEAR(sample_moments(wide).variance, 0.25, 0.006);
}

TEST(Random, NeighboursAreUncorrelated) {
  Generator generator(4);
  const std::vector<double> x = randn({100'001}, generator, f64).to_vector<double>();
  for (size_t lag : {1, 2, 3, 4}) {
    double product = 0;
    for (size_t i = 0; i + lag < x.size(); ++i) product += x[i] * x[i + lag];
    EXPECT_NEAR(product / 1e5, 0, 0.016) << lag;
  }
}

TEST(Random, UniformStaysInside) {
  Generator generator(5);
  const std::vector<double> x = rand({100'000}, generator, f64).to_vector<double>();
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  EXPECT_GT(*low, 0);
  EXPECT_LT(*low, 1e-4);
  EXPECT_LT(*high, 1);
  EXPECT_GT(*high, 1 - 1e-4);
  double sum = 0;
  for (int i = 0; i < 10'000; ++i) {
    const double value = generator.uniform(2, 4);
    EXPECT_TRUE(value > 2 && value < 4);
    sum += value;
  }
  EXPECT_NEAR(sum / 1e4, 3, 0.03);
}

TEST(Random, BothFloatingTypesGetTheSameStream) {
  for (const bool normal : {true, false}) {
    Generator a(6), b(6);
    const Tensor x = normal ? randn({1001}, a, f64) : rand({1001}, a, f64);
    const Tensor y = normal ? randn({1001}, b, f32) : rand({1001}, b, f32);
    EXPECT_TRUE(same_bits(x.to(f32), y));
    EXPECT_EQ(a.state(), b.state());
  }
}

TEST(Random, SeedsAndStreamsDiffer) {
  const auto draw = [](uint64_t seed, uint64_t stream) {
    Generator generator(seed, stream);
    return randn({8}, generator, f64);
  };
  EXPECT_TRUE(same_bits(draw(1, 2), draw(1, 2)));
  EXPECT_FALSE(same_bits(draw(1, 2), draw(2, 2)));
  EXPECT_FALSE(same_bits(draw(1, 2), draw(1, 3)));
  manual_seed(9);
  const Tensor x = randn({3});
  manual_seed(9);
  EXPECT_TRUE(same_bits(randn({3}), x));
}

TEST(Random, StateComesBack) {
  Generator generator(7);
  (void)generator.normal();
  const Generator::State state = generator.state();
  const Tensor x = randn({5}, generator);
  const double y = generator.uniform();
  generator.set_state(state);
  EXPECT_TRUE(same_bits(randn({5}, generator), x));
  EXPECT_EQ(generator.uniform(), y);
}

TEST(Random, BelowIsEven) {
  Generator generator(8);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70'000; ++i) ++counts[static_cast<size_t>(generator.below(7))];
  double chi = 0;
  for (int count : counts) chi += (count - 10'000.) * (count - 10'000.) / 10'000;
  EXPECT_LT(chi, 22.5);  // six degrees of freedom, p = 0.001
  EXPECT_EQ(generator.below(1), 0);
  // Under a plain remainder of 64 bits, 56 % of these would fall into the lower half.
  int lower = 0;
  const int64_t n = INT64_MAX / 4 * 3;
  for (int i = 0; i < 4000; ++i) {
    const int64_t value = generator.below(n);
    EXPECT_TRUE(value >= 0 && value < n);
    lower += value < n / 2;
  }
  EXPECT_NEAR(lower, 2000, 160);
  expect_error([&] { (void)generator.below(0); }, "[below] 0: want at least 1");
}

TEST(Random, PermutationsAreEven) {
  Generator generator(9);
  std::vector<int64_t> order = generator.permutation(1000);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  EXPECT_TRUE(generator.permutation(0).empty());
  EXPECT_EQ(generator.permutation(1), std::vector<int64_t>{0});
  std::map<std::vector<int64_t>, int> counts;
  for (int i = 0; i < 24'000; ++i) ++counts[generator.permutation(4)];
  EXPECT_EQ(counts.size(), 24u);
  double chi = 0;
  for (const auto& [_, count] : counts) chi += (count - 1000.) * (count - 1000.) / 1000;
  EXPECT_LT(chi, 49.7);  // 23 degrees of freedom, p = 0.001
}

TEST(Random, WantsContiguousFloatingTensors) {
  Generator generator;
  expect_error(
      [&] {
        generator.fill_normal(view::slice(zeros({4, 4}), 1, 0, 2));
      },
      "[fill_normal] wants a contiguous tensor: shape [4, 2]");
  expect_error([&] { generator.fill_uniform(zeros({4}, i64)); }, "[fill_uniform] dtype i64 is not a floating one");
}

TEST(RandomThreads, BitsDoNotDependOnTheThreadCount) {
  const int before = num_threads();
  std::vector<Tensor> drawn;
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    Generator generator(10);
    drawn.push_back(randn({50'001}, generator));
  }
  set_num_threads(before);
  EXPECT_TRUE(same_bits(drawn[0], drawn[1]));
  EXPECT_TRUE(same_bits(drawn[0], drawn[2]));
}

TEST(RandomThreads, ReservedBlocksDoNotOverlap) {
  Generator generator(11);
  std::vector<std::vector<uint64_t>> taken(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 1000; ++i) taken[t].push_back(generator.reserve(3).position);
    });
  for (std::thread& thread : threads) thread.join();
  std::vector<uint64_t> all;
  for (const auto& part : taken) all.insert(all.end(), part.begin(), part.end());
  std::sort(all.begin(), all.end());
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], 3 * i);
}

}  // namespace
}  // namespace norma
