// Exercise of lesson 9: a sum that has the same bits whatever the number of threads. Fill the gap.
#pragma once

#include <cstddef>
#include <thread>
#include <vector>

inline float sum_range(const std::vector<float>& x, size_t begin, size_t end) {
  float sum = 0;
  for (size_t i = begin; i < end; ++i) sum += x[i];
  return sum;
}

// Slots for n numbers: one for each 1,000, but at least 1 and at most 64.
inline size_t slot_count(size_t n) { return n < 1000 ? 1 : n < 64'000 ? n / 1000 : 64; }

// The sum of x by `threads` threads, at least 1, all of which have work where there are enough numbers. The bits of the
// result are a function of x alone.
inline float parallel_sum(const std::vector<float>& x, size_t threads) {
  // GAP: here each thread has a part of its own, and another number of threads has other parts.
  std::vector<float> partial(threads);
  std::vector<std::thread> running;
  for (size_t t = 0; t < threads; ++t)
    running.emplace_back([&, t] { partial[t] = sum_range(x, x.size() * t / threads, x.size() * (t + 1) / threads); });
  for (std::thread& thread : running) thread.join();
  return sum_range(partial, 0, partial.size());
}
