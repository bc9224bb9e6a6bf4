#include "tests/alloc/interpose.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace norma::test {
namespace {

std::atomic<bool> counting{false};
std::atomic<int64_t> large{0}, small{0};
std::atomic<size_t> largest{0}, small_bytes{0};

void note(size_t bytes) {
  if (!counting.load(std::memory_order_relaxed)) return;
  if (bytes < 4096) {
    ++small;
    small_bytes += bytes;
    return;
  }
  ++large;
  for (size_t before = largest; before < bytes && !largest.compare_exchange_weak(before, bytes);) {
  }
}

}  // namespace

void count_allocations() {
  large = small = 0;
  largest = small_bytes = 0;
  counting = true;
}

SystemAllocations stop_counting() {
  counting = false;
  return {large, largest, small, small_bytes};
}

}  // namespace norma::test

// glibc's own names for what is replaced here.
extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t n, size_t bytes);
void* __libc_realloc(void* block, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

void* malloc(size_t bytes) {
  norma::test::note(bytes);
  return __libc_malloc(bytes);
}

void* calloc(size_t n, size_t bytes) {
  norma::test::note(n * bytes);
  return __libc_calloc(n, bytes);
}

void* realloc(void* block, size_t bytes) {
  norma::test::note(bytes);
  return __libc_realloc(block, bytes);
}

void* memalign(size_t alignment, size_t bytes) {
  norma::test::note(bytes);
  return __libc_memalign(alignment, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }

int posix_memalign(void** block, size_t alignment, size_t bytes) {
  *block = memalign(alignment, bytes);
  return *block ? 0 : ENOMEM;
}

void* mmap(void* address, size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  norma::test::note(bytes);
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
}
}
