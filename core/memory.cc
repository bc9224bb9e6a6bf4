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
namespace {

// Size classes: eight steps to an octave (at most 12.5 % is lost to rounding), from 64 bytes up.
constexpr size_t kMinBlock = 64;
constexpr int kStepsPerOctave = 8;
constexpr size_t kHugePage = size_t{2} << 20;

struct SizeClass {
  size_t bytes;
  size_t index;
};

SizeClass size_class(size_t bytes) {
  bytes = std::max(bytes, kMinBlock);
  // 2^octave < bytes <= 2^(octave+1); but 9 from 0 up, so that no step is less than kMinBlock.
  const int octave = std::max<int>(std::bit_width(bytes - 1) - 1, 9);
  const size_t step = (size_t{1} << octave) / kStepsPerOctave;
  const size_t steps = (bytes + step - 1) / step;  // 9 ... 16, in the lowest octave 1 ... 16
  return {steps * step, static_cast<size_t>(octave - 9) * kStepsPerOctave + steps - 1};
}

void* system_allocate(size_t bytes, int) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kMinBlock;
  void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (block && bytes >= kHugePage) madvise(block, bytes, MADV_HUGEPAGE);  // fewer TLB misses; failure is harmless
  return block;
}

// The bytes of a class, by its index.
int64_t bytes_of_class(size_t index) {
  return static_cast<int64_t>(index < 8 ? (index + 1) * kMinBlock : (index % 8 + 9) << (index / 8 + 5));
}

}  // namespace

MemoryPool::MemoryPool()
    : MemoryPool({system_allocate, [](void* block, int) { std::free(block); },
                  [](void* block, int byte, size_t bytes, int) { std::memset(block, byte, bytes); }},
                 0) {}

void* MemoryPool::allocate(size_t bytes) {
  check(bytes < size_t{1} << 62, "memory", "cannot allocate {} bytes", bytes);
  const SizeClass wanted = size_class(bytes);
  void* block = nullptr;
  bool poison;
  {
    std::lock_guard lock(mutex_);
    check(--until_failure_ != 0, "memory", "cannot allocate {} bytes: a failure that a test asked for", wanted.bytes);
    const int64_t in_use = stats_.bytes_in_use + static_cast<int64_t>(wanted.bytes);
    check(in_use <= limit_, "memory", "cannot allocate {} bytes: {} are in use, the limit is {}", wanted.bytes,
          stats_.bytes_in_use, limit_);
    block = take_cached(wanted.index, std::max(most_in_use_, in_use));
    if (!block) {
      block = source_.allocate(wanted.bytes, device_);
      if (!block) {
        free_cached(0);
        block = source_.allocate(wanted.bytes, device_);
      }
      check(block != nullptr, "memory", "cannot allocate {} bytes: {} are in use", wanted.bytes, stats_.bytes_in_use);
      auto& list = free_[wanted.index];
      if (++count_[wanted.index] > list.capacity()) list.reserve(2 * count_[wanted.index]);
      if (!source_.asynchronous) ASAN_POISON_MEMORY_REGION(block, wanted.bytes);
      ++stats_.system_calls;
      stats_.bytes_reserved += static_cast<int64_t>(wanted.bytes);
    }
    ++stats_.allocations;
    stats_.bytes_in_use = in_use;
    most_in_use_ = std::max(most_in_use_, in_use);
    stats_.peak_bytes = std::max(stats_.peak_bytes, in_use);
    poison = poison_;
  }
  ASAN_UNPOISON_MEMORY_REGION(block, bytes);
  if (poison) source_.fill(block, 0xFF, bytes, device_);
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
    lent_.push_back({free_[index].back(), index, loss});
    lost_ += loss;
  }
  if (free_[index].empty()) return nullptr;
  void* const block = free_[index].back();
  free_[index].pop_back();
  return block;
}

void MemoryPool::release(void* block, size_t bytes) noexcept {
  if (!block) return;
  const SizeClass given = size_class(bytes);
  if (!source_.asynchronous) ASAN_POISON_MEMORY_REGION(block, given.bytes);
  std::lock_guard lock(mutex_);
  size_t index = given.index;
  const auto lent = std::find_if(lent_.begin(), lent_.end(), [&](const Lent& entry) { return entry.block == block; });
  if (lent != lent_.end()) {
    index = lent->index;
    lost_ -= lent->loss;
    *lent = lent_.back();
    lent_.pop_back();
  }
  free_[index].push_back(block);
  stats_.bytes_in_use -= static_cast<int64_t>(given.bytes);
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

bool MemoryPool::set_poison(bool on) {
  std::lock_guard lock(mutex_);
  return std::exchange(poison_, on);
}

void MemoryPool::fail_at(int64_t n) {
  std::lock_guard lock(mutex_);
  until_failure_ = n;
}

int64_t MemoryPool::set_limit(int64_t bytes) {
  std::lock_guard lock(mutex_);
  return std::exchange(limit_, bytes);
}

MemoryPool& cpu_memory() {
  static MemoryPool* const pool = new MemoryPool;
  return *pool;
}

}  // namespace norma
