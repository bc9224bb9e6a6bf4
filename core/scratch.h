// Scratch: working memory of a kernel, from the pool.
#pragma once

#include "norma/core/memory.h"
#include "norma/core/parallel.h"

namespace norma {

// n uninitialised floats, given back to the pool at the end of the scope.
class Scratch {
 public:
  explicit Scratch(int64_t n) : bytes_(n * sizeof(float)), data_(static_cast<float*>(cpu_memory().allocate(bytes_))) {}
  ~Scratch() { cpu_memory().release(data_, bytes_); }
  Scratch& operator=(Scratch&&) = delete;  // neither moved nor copied
  operator float*() const { return data_; }

 private:
  size_t bytes_;
  float* data_;
};

// Call it before a parallel region in which each slot has a Scratch of a and one of b floats: it leaves as many in the
// pool as the threads can want at a time. Without it, how the threads happen to run decides when the system is asked
// for memory.
inline void reserve(int64_t a, int64_t b, int threads = num_threads()) {
  if (threads == 0) return;
  const Scratch first(a), second(b);
  reserve(a, b, threads - 1);
}

}  // namespace norma
