#include "norma/core/parallel.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "norma/core/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace norma {
namespace {

thread_local bool inside_region = false;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// `ticket_` holds, in one atomic word, the number of the region (32 bits), its slots (16) and the next slot to be taken
// (16). A thread takes a slot by adding one with compare-exchange; having succeeded, it knows that the region's caller
// still waits for that slot, so that function_ and context_ are this region's.
class ThreadPool {
 public:
  ThreadPool() {
    int count = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    if (const char* text = std::getenv("NORMA_NUM_THREADS"); text && std::atoi(text) > 0) count = std::atoi(text);
    start(count);
  }
  ~ThreadPool() { stop(); }

  int threads() const { return threads_.load(std::memory_order_relaxed); }

  void resize(int count) {
    std::lock_guard region(region_mutex_);
    stop();
    start(count);
  }

  void run(int slots, void (*function)(void*, int), void* context) {
    std::unique_lock region(region_mutex_, std::defer_lock);
    if (slots <= 1 || inside_region || threads() == 1 || !region.try_lock()) {
      for (int slot = 0; slot < slots; ++slot) function(context, slot);
      return;
    }
    function_ = function;
    context_ = context;
    error_ = nullptr;
    done_.store(0, std::memory_order_relaxed);
    const uint64_t number = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
    ticket_.store(number << 32 | static_cast<uint64_t>(slots) << 16);
    if (sleepers_.load() > 0) {
      std::lock_guard lock(sleep_mutex_);
      wake_.notify_all();
    }
    work();
    for (int spins = 0; done_.load(std::memory_order_acquire) < slots; ++spins)
      spins < kSpins ? relax() : std::this_thread::yield();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  static constexpr int kSpins = 4000;  // some tens of microseconds: longer than the gap between two kernels of a step

  bool has_work() const {
    const uint64_t ticket = ticket_.load();
    return (ticket & 0xFFFF) < (ticket >> 16 & 0xFFFF);
  }

  void work() {
    inside_region = true;
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while ((ticket & 0xFFFF) < (ticket >> 16 & 0xFFFF)) {
      if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
      const int slot = static_cast<int>(ticket & 0xFFFF);
      try {
        function_(context_, slot);
      } catch (...) {
        std::lock_guard lock(error_mutex_);
        if (!error_ || slot < error_slot_) {
          error_ = std::current_exception();
          error_slot_ = slot;
        }
      }
      done_.fetch_add(1, std::memory_order_release);
      ticket = ticket_.load(std::memory_order_acquire);
    }
    inside_region = false;
  }

  void worker() {
    while (true) {
      for (int spins = 0; spins < kSpins && !has_work(); ++spins) relax();
      if (!has_work()) {
        std::unique_lock lock(sleep_mutex_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, [&] { return stopping_ || has_work(); });
        sleepers_.fetch_sub(1);
        if (stopping_) return;
      }
      work();
    }
  }

  void start(int count) {
    threads_ = count;
    stopping_ = false;
    for (int i = 1; i < count; ++i) workers_.emplace_back([this] { worker(); });
  }

  void stop() {
    {
      std::lock_guard lock(sleep_mutex_);
      stopping_ = true;
      wake_.notify_all();
    }
    for (std::thread& thread : workers_) thread.join();
    workers_.clear();
  }

  std::vector<std::thread> workers_;
  std::atomic<int> threads_{1};
  std::mutex region_mutex_;  // one region at a time

  std::atomic<uint64_t> ticket_{0};
  std::atomic<int> done_{0};
  void (*function_)(void*, int) = nullptr;
  void* context_ = nullptr;

  std::mutex error_mutex_;
  std::exception_ptr error_;
  int error_slot_ = 0;

  std::mutex sleep_mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
  bool stopping_ = false;
};

ThreadPool& pool() {
  static ThreadPool instance;
  return instance;
}

}  // namespace

int num_threads() { return pool().threads(); }

void set_num_threads(int count) {
  check(count >= 1 && count <= 1024, "set_num_threads", "{} threads: want 1 ... 1024", count);
  check(!inside_region, "set_num_threads", "called from inside a parallel region");
  pool().resize(count);
}

void detail::run_slots(int slots, void (*function)(void*, int), void* context) {
  check(slots < 1 << 16, "parallel_slots", "{} slots: at most 65535", slots);
  pool().run(slots, function, context);
}

}  // namespace norma
