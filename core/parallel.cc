#include "norma/core/parallel.h"

#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace norma {
namespace {

thread_local bool inside_region = false;

#if defined(__x86_64__)
void relax() { __builtin_ia32_pause(); }
#else
void relax() { std::this_thread::yield(); }
#endif

// Each thread has a share of a region's slots, a range of consecutive ones, and helps the others when it has done its
// own: one region after another, a thread works on the same part of the data, which its caches still hold. What is left
// of a share is one atomic word: the number of the region (32 bits), the end of the share (16) and its next slot (16).
// A thread takes a slot by adding one with compare-exchange; having succeeded, it knows that the region's caller still
// waits for that slot, so that function_ is this region's.
class ThreadPool {
 public:
  explicit ThreadPool(int count) { resize(count); }
  ~ThreadPool() { resize(1); }

  int threads() const { return threads_.load(std::memory_order_relaxed); }

  void resize(int count) {
    std::lock_guard region(region_mutex_);
    stopping_ = true;
    region_.fetch_add(1);  // one without slots
    region_.notify_all();
    for (; !workers_.empty(); workers_.pop_back()) workers_.back().join();
    stopping_ = false;
    threads_ = count;
    shares_ = std::vector<Share>(count);
    for (size_t i = 1; i < shares_.size(); ++i)  // the caller's share is the first
      workers_.emplace_back([this, i, seen = region_.load()] { worker(i, seen); });
  }

  void run(int slots, const std::function<void(int)>& function) {
    std::unique_lock region(region_mutex_, std::defer_lock);
    if (slots <= 1 || inside_region || threads() == 1 || !region.try_lock()) {
      for (int slot = 0; slot < slots; ++slot) function(slot);
      return;
    }
    function_ = &function;
    module_ = running_module;
    error_ = nullptr;
    done_.store(0, std::memory_order_relaxed);
    const uint64_t number = region_.load(std::memory_order_relaxed) + 1;
    for (uint64_t t = 0, n = shares_.size(), count = static_cast<uint64_t>(slots); t < n; ++t)
      shares_[t].left.store(number << 32 | count * (t + 1) / n << 16 | count * t / n, std::memory_order_release);
    region_.store(number);
    region_.notify_all();
    work(0);
    for (int spins = 0; done_.load(std::memory_order_acquire) < slots; ++spins)
      spins < kSpins ? relax() : std::this_thread::yield();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  static constexpr int kSpins = 4000;  // some tens of microseconds: longer than the gap between two kernels of a step

  struct alignas(64) Share {  // a cache line of its own
    std::atomic<uint64_t> left{0};
  };

  // Takes slots until none is left, beginning with thread `self`'s share.
  void work(size_t self) {
    const Scoped inside(inside_region, true);
    int finished = 0;  // told at the end: the region cannot end before
    for (size_t i = 0; i < shares_.size(); ++i) {
      std::atomic<uint64_t>& left = shares_[(self + i) % shares_.size()].left;
      uint64_t share = left.load(std::memory_order_acquire);
      while ((share & 0xFFFF) < (share >> 16 & 0xFFFF)) {
        if (!left.compare_exchange_weak(share, share + 1, std::memory_order_acq_rel)) continue;
        call(static_cast<int>(share & 0xFFFF));
        ++finished;
        share = left.load(std::memory_order_acquire);
      }
    }
    done_.fetch_add(finished, std::memory_order_release);
  }

  void call(int slot) {
    running_module = module_;  // which errors name
    try {
      (*function_)(slot);
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_ || slot < error_slot_) {
        error_ = std::current_exception();
        error_slot_ = slot;
      }
    }
  }

  void worker(size_t self, uint32_t seen) {
    // A thread's first malloc maps 128 MiB of addresses for what it will ever take. Now, not in the middle of a step.
    void* volatile block = std::malloc(1);
    std::free(block);
    while (true) {
      for (int spins = 0; spins < kSpins && region_.load(std::memory_order_acquire) == seen; ++spins) relax();
      region_.wait(seen);
      if (stopping_) return;
      seen = region_.load(std::memory_order_acquire);
      work(self);
    }
  }

  std::vector<std::thread> workers_;  // not jthread, which libc++ has from 18 on
  std::vector<Share> shares_;
  std::atomic<int> threads_{1};
  std::mutex region_mutex_;  // one region at a time

  const std::function<void(int)>* function_ = nullptr;
  const char* module_ = "";                      // the caller's running_module
  alignas(64) std::atomic<uint32_t> region_{0};  // what idle threads watch
  alignas(64) std::atomic<int> done_{0};

  std::atomic<bool> stopping_{false};

  std::mutex error_mutex_;
  std::exception_ptr error_;
  int error_slot_ = 0;
};

int default_threads() {
  if (const char* text = std::getenv("NORMA_NUM_THREADS"); text && std::atoi(text) > 0) return std::atoi(text);
  cpu_set_t cores;  // those that the process is bound to, as by mpirun
  if (::sched_getaffinity(0, sizeof cores, &cores) == 0) return std::max(1, CPU_COUNT(&cores));
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

thread_local void* of_thread = nullptr;  // a ThreadShare's pool

ThreadPool& pool() {
  static ThreadPool of_process(default_threads());
  return of_thread ? *static_cast<ThreadPool*>(of_thread) : of_process;
}

}  // namespace

int num_threads() { return pool().threads(); }

void set_num_threads(int count) {
  check(count >= 1 && count <= 1024, "set_num_threads", "{} threads: want 1 ... 1024", count);
  check(!inside_region, "set_num_threads", "called from inside a parallel region");
  pool().resize(count);
}

ThreadShare::ThreadShare(int threads) : pool_(std::make_shared<ThreadPool>(threads)), here_(of_thread, pool_.get()) {}

void run_slots(int slots, const std::function<void(int)>& f) {
  check(slots < 1 << 16, "parallel_slots", "{} slots: at most 65535", slots);
  pool().run(slots, f);
}

}  // namespace norma
