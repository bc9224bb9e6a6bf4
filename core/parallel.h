// The thread pool. Work is cut into *slots*, whose number and bounds depend on the size of the work alone, never on the
// number of threads; partial results belong to slots and are merged in slot order. So results have the same bits
// whatever the thread count. One pool in the process, shared by all callers but those with a ThreadShare.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>

#include "norma/core/error.h"

namespace norma {

// Threads that work on a parallel region of the calling thread, which is one of them. Default: $NORMA_NUM_THREADS, or
// every core that this process may run on.
int num_threads();
void set_num_threads(int count);  // >= 1; not to be called from inside a parallel region

// While it lives, the calling thread's regions have so many threads of their own, and no part in the process's pool:
// workers that compute at the same time (core/workers.h) do not wait for each other.
class ThreadShare {
 public:
  explicit ThreadShare(int threads);

 private:
  std::shared_ptr<void> pool_;
  Scoped<void*> here_;
};

inline constexpr int kMaxSlots = 64;

// How many slots n items are cut into when a slot should hold at least `grain` items.
inline int slot_count(int64_t n, int64_t grain, int max_slots = kMaxSlots) {
  return static_cast<int>(std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, max_slots));
}

void run_slots(int slots, const std::function<void(int slot)>& f);  // parallel_slots, for any function

// Calls f(slot) for each slot in [0, slots), on several threads. A nested call, or one made while another thread holds
// the pool, runs on the calling thread. An exception in a slot is rethrown (that of the lowest slot). (By reference:
// nothing is allocated.)
void parallel_slots(int slots, auto&& f) { run_slots(slots, std::ref(f)); }

// Calls f(slot, begin, end) for consecutive ranges that cover [0, n).
void parallel_ranges(int64_t n, int64_t grain, auto&& f) {
  if (n <= 0) return;
  const int slots = slot_count(n, grain);
  parallel_slots(slots, [&](int slot) { f(slot, n * slot / slots, n * (slot + 1) / slots); });
}

// Calls f(begin, end) for consecutive ranges that cover [0, n), for work without partial sums.
void parallel_for(int64_t n, int64_t grain, auto&& f) {
  parallel_ranges(n, grain, [&](int, int64_t begin, int64_t end) { f(begin, end); });
}

// Calls f(i) for each i in [0, n).
void parallel_each(int64_t n, int64_t grain, auto&& f) {
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

}  // namespace norma
