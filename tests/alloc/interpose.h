// Counts what a stretch of code takes from the system: this program's malloc, calloc, realloc, aligned allocation and
// mmap go through here. (operator new calls malloc.) Test support only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace norma::test {

struct SystemAllocations {
  int64_t large = 0;   // of 4 KiB or more
  size_t largest = 0;  // bytes
  int64_t small = 0;
  size_t small_bytes = 0;  // together
};

void count_allocations();           // from now on, on all threads
SystemAllocations stop_counting();  // since then

}  // namespace norma::test
