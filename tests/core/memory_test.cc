// The pooled allocator: what its statistics say, reuse, rounding, poison, trimming, and several threads.
#include "norma/core/memory.h"

#include <cstring>
#include <thread>

#include "tests/golden.h"

namespace norma {
namespace {

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
