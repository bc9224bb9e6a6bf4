// The pooled allocator: what its statistics say, reuse, rounding, poison, trimming, and several threads.
#include "norma/core/memory.h"

#include <cstring>
#include <thread>

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

struct OwnPool : MemoryPool {
  ~OwnPool() { trim(); }
};

TEST(Memory, CountsWhatIsInUse) {
  OwnPool pool;
  void* a = pool.allocate(1000);  // of the class of 1024
  EXPECT_EQ(pool.stats().bytes_in_use, 1024);
  void* b = pool.allocate(64);
  EXPECT_EQ(pool.stats().bytes_in_use, 1088);
  pool.release(a, 1000);
  EXPECT_EQ(pool.stats().bytes_in_use, 64);
  EXPECT_EQ(pool.stats().peak_bytes, 1088);
  EXPECT_EQ(pool.stats().bytes_reserved, 1088);
  pool.reset_peak();
  EXPECT_EQ(pool.stats().peak_bytes, 64);
  pool.release(b, 64);
  pool.release(nullptr, 5);
  const MemoryStats end = pool.stats();
  EXPECT_EQ(end.bytes_in_use, 0);
  EXPECT_EQ(end.peak_bytes, 64);
  EXPECT_EQ(end.allocations, 2);
  EXPECT_EQ(end.system_calls, 2);
}

TEST(Memory, ReusesBlocksOfTheSameClass) {
  OwnPool pool;
  void* a = pool.allocate(5000);
  pool.release(a, 5000);
  EXPECT_EQ(pool.allocate(4990), a);
  void* b = pool.allocate(5000);
  EXPECT_NE(b, a);
  EXPECT_EQ(pool.stats().system_calls, 2);
  pool.release(b, 5000);
  void* other = pool.allocate(9000);
  EXPECT_NE(other, b);
  pool.release(other, 9000);
  pool.release(a, 4990);
}

TEST(Memory, LosesAtMostAnEighthToRounding) {
  OwnPool pool;
  std::vector<size_t> sizes;
  for (size_t bytes = 0; bytes <= 4200; ++bytes) sizes.push_back(bytes);
  for (size_t octave = 13; octave <= 23; ++octave)
    for (size_t eighth = 0; eighth < 8; ++eighth)
      for (size_t step : {0, 1, 2}) sizes.push_back((size_t{1} << octave) / 8 * (8 + eighth) + step - 1);
  for (size_t bytes : sizes) {
    void* block = pool.allocate(bytes);
    const auto got = static_cast<size_t>(pool.stats().bytes_in_use);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
    EXPECT_GE(got, bytes);
    EXPECT_LE(got, std::max(bytes + std::max<size_t>(63, bytes / 8), size_t{64})) << bytes;
    std::memset(block, 1, bytes);
    pool.release(block, bytes);
    EXPECT_EQ(pool.stats().bytes_in_use, 0) << bytes;
    if (bytes > 100000) pool.trim();
  }
}

TEST(Memory, TrimGivesBackWhatIsCached) {
  OwnPool pool;
  void* kept = pool.allocate(100);
  pool.release(pool.allocate(1 << 20), 1 << 20);
  EXPECT_EQ(pool.stats().bytes_reserved, (1 << 20) + 128);
  pool.trim();
  EXPECT_EQ(pool.stats().bytes_reserved, 128);
  std::memset(kept, 1, 100);
  pool.release(pool.allocate(1 << 20), 1 << 20);
  EXPECT_EQ(pool.stats().system_calls, 3);
  pool.release(kept, 100);
}

TEST(Memory, PoisonIsNaN) {
  OwnPool pool;
  EXPECT_FALSE(pool.set_poison(true));
  auto* block = static_cast<float*>(pool.allocate(400));
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(std::isnan(block[i]));
  std::memset(block, 0, 400);
  pool.release(block, 400);
  EXPECT_TRUE(std::isnan(static_cast<double*>(pool.allocate(400))[49]));  // blocks that come back, too
  EXPECT_TRUE(pool.set_poison(false));
  EXPECT_FALSE(pool.set_poison(false));
  pool.release(block, 400);
}

TEST(Memory, TensorsAndVectorsComeFromThePool) {
  const MemoryStats before = cpu_memory().stats();
  {
    const Tensor x({1000, 3});
    const PoolVector<double> y(500);
    EXPECT_GE(cpu_memory().stats().bytes_in_use, before.bytes_in_use + 16000);
    EXPECT_EQ(cpu_memory().stats().allocations, before.allocations + 2);
  }
  EXPECT_EQ(cpu_memory().stats().bytes_in_use, before.bytes_in_use);
}

TEST(Memory, ASteadyStateAsksTheSystemForNothing) {
  const auto step = [] {
    const Tensor x = zeros({64, 1000}), y = x.clone();
    return y.to(f64).contiguous();
  };
  step();
  const int64_t before = cpu_memory().stats().system_calls;
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(cpu_memory().stats().system_calls, before);
}

// Sizes that never come again do not pile up.
TEST(Memory, ReservesAtMostTwiceWhatWasInUse) {
  OwnPool pool;
  Generator random(1);
  for (int step = 0; step < 300; ++step) {
    std::vector<std::pair<void*, size_t>> blocks;
    const int64_t most = random.below(1 << 18) + 1;
    for (int i = 0; i < 12; ++i) {
      const auto bytes = static_cast<size_t>(random.below(most));
      blocks.emplace_back(pool.allocate(bytes), bytes);
      std::memset(blocks.back().first, 1, bytes);
      if (random.below(2)) {
        std::swap(blocks.back(), blocks[static_cast<size_t>(random.below(std::ssize(blocks)))]);
        pool.release(blocks.back().first, blocks.back().second);
        blocks.pop_back();
      }
    }
    for (const auto& [block, bytes] : blocks) pool.release(block, bytes);
    ASSERT_LE(pool.stats().bytes_reserved, 2 * pool.stats().peak_bytes) << "step " << step;
  }
  EXPECT_EQ(pool.stats().bytes_in_use, 0);
}

// Steps of which each has blocks of many sizes, one after the other: all cached, they would be eleven times what is in
// use at a time.
TEST(Memory, ASteadyStateOfManySizesAsksTheSystemForNothing) {
  OwnPool pool;
  const auto step = [&] {
    for (size_t bytes = 1 << 20; bytes > 1 << 16; bytes -= bytes / 8) pool.release(pool.allocate(bytes), bytes);
  };
  step();
  step();
  EXPECT_LE(pool.stats().bytes_reserved, 2 * pool.stats().peak_bytes);
  const int64_t before = pool.stats().system_calls;
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(pool.stats().system_calls, before);
}

TEST(Memory, RefusesWhatIsBeyondTheLimit) {
  OwnPool pool;
  EXPECT_EQ(pool.set_limit(4096), INT64_MAX);
  void* const block = pool.allocate(3072);
  expect_error([&] { pool.allocate(2048); }, "[memory] cannot allocate 2048 bytes: 3072 are in use, the limit is 4096");
  EXPECT_EQ(pool.stats().bytes_in_use, 3072);
  pool.release(pool.allocate(1024), 1024);
  EXPECT_EQ(pool.set_limit(INT64_MAX), 4096);
  pool.release(pool.allocate(2048), 2048);
  pool.release(block, 3072);
  expect_error([&] { pool.allocate(SIZE_MAX); }, "[memory] cannot allocate 18446744073709551615 bytes");
}

TEST(MemoryThreads, ServesSeveralThreads) {
  OwnPool pool;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const size_t bytes = static_cast<size_t>(1 + i * 37 % 3000);
        auto* block = static_cast<unsigned char*>(pool.allocate(bytes));
        std::memset(block, t, bytes);
        std::this_thread::yield();
        for (size_t k = 0; k < bytes; ++k) wrong += block[k] != t;
        pool.release(block, bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(pool.stats().bytes_in_use, 0);
  EXPECT_EQ(pool.stats().allocations, 2000);
}

}  // namespace
}  // namespace norma
