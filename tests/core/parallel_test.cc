// The thread pool: coverage, nesting, exceptions, several callers, resizing, and bits that do not depend on the
// threads.
#include "norma/core/parallel.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

// Sets the number of threads for a test and puts the former back.
struct Threads {
  explicit Threads(int count) { set_num_threads(count); }
  ~Threads() { set_num_threads(before); }
  int before = num_threads();
};

TEST(ParallelThreads, SlotsDependOnTheWorkAlone) {
  EXPECT_EQ(slot_count(0, 100), 1);
  EXPECT_EQ(slot_count(99, 100), 1);
  EXPECT_EQ(slot_count(250, 100), 2);
  EXPECT_EQ(slot_count(1'000'000, 100), kMaxSlots);
  EXPECT_EQ(slot_count(1'000'000, 100, 7), 7);
  EXPECT_EQ(slot_count(10, 0), 10);
}

TEST(ParallelThreads, RangesCoverEverythingOnce) {
  for (int threads : {1, 2, 5}) {
    const Threads guard(threads);
    for (int64_t n : {0, 1, 2, 63, 64, 65, 1000, 4097}) {
      for (int64_t grain : {1, 7, 64, 5000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
        std::atomic<int> calls{0};
        parallel_ranges(n, grain, [&](int slot, int64_t begin, int64_t end) {
          EXPECT_LT(slot, slot_count(n, grain));
          EXPECT_LT(begin, end);
          ++calls;
          for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
        });
        EXPECT_EQ(calls, n == 0 ? 0 : slot_count(n, grain));
        for (const auto& count : seen) EXPECT_EQ(count, 1);
      }
    }
  }
}

TEST(ParallelThreads, EachSlotRunsOnceOnSomeThread) {
  const Threads guard(4);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> seen(100);
    parallel_slots(100, [&](int slot) { ++seen[static_cast<size_t>(slot)]; });
    for (const auto& count : seen) ASSERT_EQ(count, 1);
  }
  parallel_slots(0, [](int) { ADD_FAILURE() << "no slot, no call"; });
  expect_error([] { parallel_slots(1 << 16, [](int) {}); }, "[parallel_slots] 65536 slots: at most 65535");
}

TEST(ParallelThreads, WorkersTakePart) {
  const Threads guard(3);
  std::atomic<int> inside{0};
  // Each slot waits for another: one thread alone would never come to an end.
  parallel_slots(2, [&](int) {
    ++inside;
    const auto start = std::chrono::steady_clock::now();
    while (inside < 2 && std::chrono::steady_clock::now() - start < std::chrono::seconds(20)) std::this_thread::yield();
    EXPECT_EQ(inside, 2);
  });
}

TEST(ParallelThreads, WakesSleepingWorkers) {
  const Threads guard(3);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // longer than they spin
    std::atomic<int> sum{0};
    parallel_slots(64, [&](int slot) { sum += slot; });
    EXPECT_EQ(sum, 2016);
  }
}

TEST(ParallelThreads, NestedCallsRunOnTheCallingThread) {
  const Threads guard(4);
  std::atomic<int> sum{0};
  parallel_slots(8, [&](int) {
    const auto self = std::this_thread::get_id();
    parallel_slots(8, [&](int slot) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      sum += slot;
    });
  });
  EXPECT_EQ(sum, 8 * 28);
}

TEST(ParallelThreads, TheLowestSlotsExceptionIsRethrown) {
  for (int threads : {1, 4}) {
    const Threads guard(threads);
    for (int round = 0; round < 20; ++round)
      expect_error([] { parallel_slots(50, [](int slot) { check(slot < 7, "slot", "threw in {}", slot); }); },
                   "[slot] threw in 7");
    std::atomic<int> sum{0};  // and the pool works on
    parallel_slots(10, [&](int slot) { sum += slot; });
    EXPECT_EQ(sum, 45);
  }
}

TEST(ParallelThreads, SeveralCallersAtOnce) {
  const Threads guard(3);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&, c] {
      for (int round = 0; round < 200; ++round) {
        std::atomic<int> sum{0};
        try {
          parallel_slots(20, [&](int slot) {
            sum += slot + c;
            check(round % 10 != 9 || slot != c, "caller", "{}", c);
          });
          wrong += sum != 190 + 20 * c;
        } catch (const Error& error) {  // one's own, and no other's
          wrong += std::string(error.what()) != fmt::format("[caller] {}", c);
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ParallelThreads, Resizes) {
  const Threads guard(2);
  for (int threads : {1, 4, 2, 3}) {
    set_num_threads(threads);
    EXPECT_EQ(num_threads(), threads);
    std::atomic<int> sum{0};
    parallel_slots(64, [&](int slot) { sum += slot; });
    EXPECT_EQ(sum, 2016);
  }
  expect_error([] { set_num_threads(0); }, "[set_num_threads] 0 threads: want 1 ... 1024");
  expect_error([] { set_num_threads(2000); }, "[set_num_threads] 2000 threads: want 1 ... 1024");
  expect_error([] { parallel_slots(4, [](int) { set_num_threads(2); }); },
               "[set_num_threads] called from inside a parallel region");
  EXPECT_EQ(num_threads(), 3);
}

TEST(ParallelThreads, BitsDoNotDependOnTheThreadCount) {
  const Tensor x = random({100'003});
  const double* data = x.data<double>();
  const auto sum = [&] {
    std::vector<double> partial(kMaxSlots);
    parallel_ranges(x.numel(), 1000, [&](int slot, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) partial[static_cast<size_t>(slot)] += data[i];
    });
    double total = 0;
    for (double part : partial) total += part;
    return total;
  };
  const Threads guard(1);
  const double one = sum();
  for (int threads : {2, 3, 8}) {
    set_num_threads(threads);
    for (int round = 0; round < 20; ++round) EXPECT_EQ(sum(), one);
  }
}

}  // namespace
}  // namespace norma
