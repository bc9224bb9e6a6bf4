// Shared memory that sees how it is used: reading what was not written, leaving its bounds, and two threads at one
// element with no barrier between them. The types of cuda/launch.h, which says Shared and dynamic_shared where a kernel
// of the real CUDA has plain arrays.
#pragma once

#include <cuda_runtime.h>

namespace cuda_emulation {

// Who used an element last: a thread, or, from kSeveralOfWarp down, several of a warp.
inline constexpr int kNobody = -1, kSeveral = -2, kSeveralOfWarp = -3;
struct SharedElement {
  bool written = false;
  int writer = kNobody, reader = kNobody;
  unsigned write_phase = 0, read_phase = 0;  // the barriers that the block had passed then
  unsigned write_step = 0, read_step = 0;    // and those of the thread's warp
};

// Each throws Misuse (engine.h) where the access is wrong.
void check_shared(SharedElement* elements, size_t count, int64_t index, bool write);
unsigned block_serial();  // another one for each block that runs
struct DynamicShared {
  void* bytes;
  SharedElement* elements;
  size_t size;  // bytes
};
DynamicShared dynamic_shared_memory();

template <class T>
class SharedReference {
 public:
  SharedReference(T* values, SharedElement* elements, size_t count, int64_t index)
      : values_(values), elements_(elements), count_(count), index_(index) {}
  SharedReference(const SharedReference&) = default;
  operator T() const {
    check_shared(elements_, count_, index_, false);
    return values_[index_];
  }
  T operator=(T value) const {
    check_shared(elements_, count_, index_, true);
    return values_[index_] = value;
  }
  T operator=(const SharedReference& other) const { return *this = T(other); }
  T operator+=(T value) const { return *this = static_cast<T>(T(*this) + value); }

 private:
  T* values_;
  SharedElement* elements_;
  size_t count_;
  int64_t index_;
};

// n elements, of a block; static.
template <class T, int n>
class Shared {
 public:
  constexpr Shared() = default;
  SharedReference<T> operator[](int64_t index) {
    if (serial_ != block_serial()) {
      serial_ = block_serial();
      __builtin_memset(values_, 0xFF, sizeof values_);
      for (SharedElement& element : elements_) element = {};
    }
    return {values_, elements_, n, index};
  }

 private:
  T values_[n] = {};
  SharedElement elements_[n] = {};
  unsigned serial_ = 0;
};

// The memory that the launch asked for, as elements of one type.
template <class T>
class DynamicSharedSpan {
 public:
  SharedReference<T> operator[](int64_t index) const {
    const DynamicShared memory = dynamic_shared_memory();
    return {static_cast<T*>(memory.bytes), memory.elements, memory.size / sizeof(T), index};
  }
};
template <class T>
DynamicSharedSpan<T> dynamic_shared() {
  return {};
}

}  // namespace cuda_emulation
