#include "norma/core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "norma/core/error.h"

// Under the address sanitizer, cached blocks and what lies beyond the bytes asked for are out of bounds.
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(block, bytes) (void)0
#define ASAN_UNPOISON_MEMORY_REGION(block, bytes)
#endif

namespace norma {
// Size classes: eight steps to an octave (at most 12.5 % is lost to rounding), from 64 bytes up.
constexpr size_t kMinBlock = 64;
constexpr size_t kHugePage = size_t{2} << 20;

static size_t class_of(size_t bytes) {
  const size_t last = std::max<size_t>(bytes, 1) - 1;
  // 2^octave <= last < 2^(octave+1); but 9 from 0 up, so that no step is less than kMinBlock. The steps before the last
  // byte are 8 ... 15, in the lowest octave 0 ... 15.
  const size_t octave = std::max<size_t>(std::bit_width(last), 10) - 1;
  return (octave - 9) * 8 + (last >> (octave - 3));
}

static int64_t bytes_of_class(size_t index) {
  return static_cast<int64_t>(index < 8 ? (index + 1) * kMinBlock : (index % 8 + 9) << (index / 8 + 5));
}

static void* system_allocate(size_t bytes, int) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kMinBlock;
  void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (block && bytes >= kHugePage) madvise(block, bytes, MADV_HUGEPAGE);  // fewer TLB misses; failure is harmless
  return block;
}

MemoryPool::MemoryPool()
    : MemoryPool({system_allocate, [](void* block, int) { std::free(block); },
                  [](void* block, int byte, size_t bytes, int) { std::memset(block, byte, bytes); }},
                 0) {}

void* MemoryPool::allocate(size_t bytes) {
  check(bytes < SIZE_MAX / 4, "memory", "cannot allocate {} bytes", bytes);
  const size_t wanted = class_of(bytes);
  const int64_t size = bytes_of_class(wanted);
  std::lock_guard lock(mutex_);
  check(--until_failure_ != 0, "memory", "cannot allocate {} bytes: a failure that a test asked for", size);
  const int64_t in_use = stats_.bytes_in_use + size;
  check(in_use <= limit_, "memory", "cannot allocate {} bytes: {} are in use, the limit is {}", size,
        stats_.bytes_in_use, limit_.load());
  void* block = take_cached(wanted, std::max(most_in_use_, in_use));
  if (!block) {
    block = source_.allocate(size, device_);
    if (!block) {
      free_cached(0);
      block = source_.allocate(size, device_);
    }
    check(block != nullptr, "memory", "cannot allocate {} bytes: {} are in use", size, stats_.bytes_in_use);
    auto& list = free_[wanted];
    if (++count_[wanted] > list.capacity()) list.reserve(2 * count_[wanted]);
    if (!source_.asynchronous) ASAN_POISON_MEMORY_REGION(block, size);
    ++stats_.system_calls;
    stats_.bytes_reserved += size;
  }
  ++stats_.allocations;
  stats_.bytes_in_use = in_use;
  most_in_use_ = std::max(most_in_use_, in_use);
  stats_.peak_bytes = std::max(stats_.peak_bytes, in_use);
  ASAN_UNPOISON_MEMORY_REGION(block, bytes);
  if (poison_) source_.fill(block, 0xFF, bytes, device_);
  return block;
}

// A block of the class or, where with one more the pool would have reserved more than 2 * most bytes, of the next
// larger one that has any, as long as no more than `most` bytes are lost to that. If there is none, gives others back.
void* MemoryPool::take_cached(size_t index, int64_t most) {
  const int64_t bytes = bytes_of_class(index);
  if (free_[index].empty() && stats_.bytes_reserved + bytes > 2 * most) {
    while (index < free_.size() && free_[index].empty()) ++index;
    const int64_t loss = index < free_.size() ? bytes_of_class(index) - bytes : most + 1;
    if (lost_ + loss > most) return free_cached(2 * most - bytes), nullptr;
    lent_.emplace_back(free_[index].back(), index);
    lost_ += loss;
  }
  if (free_[index].empty()) return nullptr;
  void* const block = free_[index].back();
  free_[index].pop_back();
  return block;
}

void MemoryPool::release(void* block, size_t bytes) noexcept {
  if (!block) return;
  size_t index = class_of(bytes);
  const int64_t given = bytes_of_class(index);
  if (!source_.asynchronous) ASAN_POISON_MEMORY_REGION(block, given);
  std::lock_guard lock(mutex_);
  const auto lent = std::find_if(lent_.begin(), lent_.end(), [&](const auto& entry) { return entry.first == block; });
  if (lent != lent_.end()) {
    index = lent->second;
    lost_ -= bytes_of_class(index) - given;
    lent_.erase(lent);
  }
  free_[index].push_back(block);
  stats_.bytes_in_use -= given;
}

MemoryStats MemoryPool::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void MemoryPool::reset_peak() {
  std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.bytes_in_use;
}

void MemoryPool::trim() {
  std::lock_guard lock(mutex_);
  free_cached(0);
}

// The largest first, until no more than `room` bytes are reserved.
void MemoryPool::free_cached(int64_t room) {
  for (size_t i = free_.size(); i-- > 0;)
    for (; !free_[i].empty() && stats_.bytes_reserved > room; free_[i].pop_back(), --count_[i]) {
      source_.release(free_[i].back(), device_);
      stats_.bytes_reserved -= bytes_of_class(i);
    }
}

MemoryPool& cpu_memory() {
  static MemoryPool* const pool = new MemoryPool;
  return *pool;
}

}  // namespace norma
