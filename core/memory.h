// The pooled allocator of CPU and CUDA: blocks go back to free lists by size class, so that a training step in its
// steady state makes no system allocation. Where sizes vary from step to step, the lists would keep blocks of every
// size that ever was: before the pool reserves more than twice the most that was ever in use, it hands out larger
// blocks than are asked for or, where that would not do, gives some back to the system. Thread-safe. On CUDA, the
// device's one stream keeps the order in which a block is used.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace norma {

struct MemoryStats {
  int64_t bytes_in_use = 0;    // handed out now (rounded to size classes)
  int64_t peak_bytes = 0;      // the most ever in use since start or reset_peak()
  int64_t bytes_reserved = 0;  // taken from the system: in use, what is lost to larger blocks, free lists
  int64_t allocations = 0;     // requests served
  int64_t system_calls = 0;    // requests that had to go to the system
};

// Where a pool's blocks come from.
struct MemorySource {
  void* (*allocate)(size_t bytes, int device);  // aligned to 64; null where there is no memory left
  void (*release)(void* block, int device);
  void (*fill)(void* block, int byte, size_t bytes, int device);
  bool asynchronous = false;  // true on CUDA: kernels queued before release() may still read or write the block
};

class MemoryPool {
 public:
  MemoryPool();  // of the system's memory
  MemoryPool(const MemorySource& source, int device) : source_(source), device_(device) {}

  // At least `bytes` bytes, aligned to 64 (one cache line, one AVX-512 register); contents are unspecified. Throws
  // Error, which names the bytes, where the system has none left, even after trim(), or they are beyond the limit.
  void* allocate(size_t bytes);
  void release(void* block, size_t bytes) noexcept;  // `bytes` as given to allocate

  MemoryStats stats() const;
  void reset_peak();
  void trim();  // gives the free lists back to the system

  // The most bytes that may be in use; default: any number. Returns the former limit.
  int64_t set_limit(int64_t bytes) { return limit_.exchange(bytes); }

  // Fills every block handed out with 0xFF (a NaN in f32 and f64), so that a kernel which reads or leaves
  // uninitialised memory is seen. For tests; gradcheck turns it on.
  bool set_poison(bool on) { return poison_.exchange(on); }  // returns the former value

  // The n-th allocation from here, counted from 1, fails once as if the system had no memory; 0: none does. For tests.
  void fail_at(int64_t n) { until_failure_ = n; }

 private:
  void* take_cached(size_t index, int64_t most);
  void free_cached(int64_t room);
  const MemorySource source_;
  const int device_;
  mutable std::mutex mutex_;
  std::array<std::vector<void*>, 512> free_;    // by size class, with room for
  std::array<size_t, 512> count_{};             // all blocks of the class: release() allocates nothing
  std::vector<std::pair<void*, size_t>> lent_;  // in use for less than their size, with their class: few, if any
  MemoryStats stats_;
  int64_t most_in_use_ = 0, lost_ = 0;
  std::atomic<int64_t> limit_{INT64_MAX}, until_failure_{0};
  std::atomic<bool> poison_{false};
};

MemoryPool& cpu_memory();  // the process's one pool; never destroyed, since tensors with static lifetime may use it

// A standard allocator over the pool, for containers that grow in every step.
template <class T>
struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <class U>
  PoolAllocator(const PoolAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(cpu_memory().allocate(n * sizeof(T))); }
  void deallocate(T* p, size_t n) noexcept { cpu_memory().release(p, n * sizeof(T)); }
  bool operator==(const PoolAllocator&) const = default;
};

template <class T>
using PoolVector = std::vector<T, PoolAllocator<T>>;

}  // namespace norma
