// Device memory: pages of a range of addresses that is closed to the host. A kernel or a copy opens the blocks that it
// touches, by the faults that touching them causes, and they are closed when it ends. Between blocks lie pages that
// nobody may touch; a block ends where such a page begins, up to the 256 bytes that cudaMalloc aligns to, whose rest is
// filled with a pattern that is looked at afterwards.
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "engine.h"

namespace cuda_emulation {

std::recursive_mutex& engine_mutex();
void drain_all();

namespace {

constexpr size_t kPage = 4096, kAlignment = 256, kRange = size_t{1} << 38;
constexpr unsigned char kPattern = 0xA5;

struct Block {
  char* pages;
  size_t page_bytes, bytes;
  int device;
  bool open = false;
  char* end() const { return begin() + bytes; }
  char* begin() const { return pages + (page_bytes - bytes) / kAlignment * kAlignment; }
};

struct Memory {
  char* const base = [] {
    void* range = mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) std::abort();
    return static_cast<char*>(range);
  }();
  char* next = base + kPage;             // none may touch what is before a block, that before the first included
  std::map<char*, Block> blocks;         // by their first page
  std::map<const char*, size_t> pinned;  // of the host: where, and how many bytes
  std::vector<Block*> opened;
  std::atomic<bool> running = false;
  int device = 0;  // whose work runs
  std::atomic_flag handling = ATOMIC_FLAG_INIT;

  bool holds(const char* at) const { return at >= base && at < base + kRange; }
  Block* find(const char* at) {
    auto after = blocks.upper_bound(const_cast<char*>(at));
    if (after == blocks.begin()) return nullptr;
    Block& block = std::prev(after)->second;
    return at < block.pages + block.page_bytes ? &block : nullptr;
  }
  bool is_pinned(const char* at) const {
    const auto after = pinned.upper_bound(at);
    return after != pinned.begin() && at < std::prev(after)->first + std::prev(after)->second;
  }
  void open(Block& block) {
    if (block.open) return;
    mprotect(block.pages, block.page_bytes, PROT_READ | PROT_WRITE);
    block.open = true;
    opened.push_back(&block);
  }
};

Memory& memory() {
  static Memory* const one = new Memory;
  return *one;
}

struct sigaction previous[2];

void report_and_abort(const std::string& message) {
  std::fputs((message + "\n").c_str(), stderr);
  std::abort();
}

void handle_fault(int signal, siginfo_t* info, void* context) {
  Memory& m = memory();
  const char* at = static_cast<const char*>(info->si_addr);
  if (!m.holds(at)) {  // not ours: whoever was there before, or the default
    struct sigaction& old = previous[signal == SIGBUS];
    if (old.sa_flags & SA_SIGINFO) return old.sa_sigaction(signal, info, context);
    sigaction(signal, &old, nullptr);
    return;
  }
  if (!m.running) {
    report_and_abort(
        fmt::format("Device memory touched by the host at {}: it is to be copied, or read by a kernel", info->si_addr));
  }
  while (m.handling.test_and_set(std::memory_order_acquire)) {  // the CPU's kernels have several threads
  }
  Block* block = m.find(at);
  const bool own = block && block->device == m.device;
  if (own) m.open(*block);
  m.handling.clear(std::memory_order_release);
  if (own) return;
  std::string message =
      block ? fmt::format("{}: touches memory of device {} on device {}", place(), block->device, m.device)
            : fmt::format("{}: touches device memory at {}, where no block is", place(), info->si_addr);
  if (in_kernel()) leave_kernel(message);
  report_and_abort(message);
}

void install_handler() {
  [[maybe_unused]] static const bool once = [] {
    struct sigaction action {};
    action.sa_sigaction = handle_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &previous[0]);
    sigaction(SIGBUS, &action, &previous[1]);
    return true;
  }();
}

// The two ends of a block's pages that are not part of it.
template <class F>
void for_each_margin(const Block& block, F&& f) {
  f(block.pages, static_cast<size_t>(block.begin() - block.pages));
  f(block.end(), static_cast<size_t>(block.pages + block.page_bytes - block.end()));
}

bool intact(const Block& block) {
  bool result = true;
  for_each_margin(block, [&](const char* from, size_t n) {
    for (size_t i = 0; i < n; ++i) result = result && static_cast<unsigned char>(from[i]) == kPattern;
  });
  return result;
}

// The block that holds [at, at + bytes).
Block* block_of(const void* at, size_t bytes) {
  const char* begin = static_cast<const char*>(at);
  Block* block = memory().find(begin);
  return block && begin >= block->begin() && begin + bytes <= block->end() ? block : nullptr;
}

}  // namespace

void run_on_device(int device, const std::function<void()>& work) {
  Memory& m = memory();
  const bool nested = m.running;  // a stream that waits for another
  const int outer = std::exchange(m.device, device);
  struct Close {
    Memory& m;
    bool nested;
    int outer;
    ~Close() {
      m.device = outer;
      if (nested) return;
      for (Block* block : m.opened) {
        block->open = false;
        mprotect(block->pages, block->page_bytes, PROT_NONE);
      }
      m.opened.clear();
      m.running = false;
    }
  } close{m, nested, outer};
  m.running = true;
  begin_work();
  work();
  for (const Block* block : m.opened) {
    if (intact(*block)) continue;
    for_each_margin(*block, [](char* from, size_t n) { std::memset(from, kPattern, n); });
    throw Misuse(fmt::format("{}: wrote beside a block of {} bytes", place(), block->bytes));
  }
}

}  // namespace cuda_emulation

using namespace cuda_emulation;

cudaError_t cudaMalloc(void** to, size_t bytes) {
  const std::lock_guard lock(engine_mutex());
  install_handler();
  Memory& m = memory();
  const size_t page_bytes = (std::max<size_t>(bytes, 1) + kPage - 1) / kPage * kPage;
  if (m.next + page_bytes + kPage > m.base + kRange) return cudaErrorMemoryAllocation;
  Block block{m.next, page_bytes, bytes, 0};
  cudaGetDevice(&block.device);
  m.next += page_bytes + kPage;  // addresses are not used twice, so that a block that was freed is not mistaken
  if (mprotect(block.pages, page_bytes, PROT_READ | PROT_WRITE) != 0) return cudaErrorMemoryAllocation;
  for_each_margin(block, [](char* from, size_t n) { std::memset(from, kPattern, n); });
  mprotect(block.pages, page_bytes, PROT_NONE);
  m.blocks.emplace(block.pages, block);
  *to = block.begin();
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  const std::lock_guard lock(engine_mutex());
  drain_all();
  Memory& m = memory();
  Block* block = m.find(static_cast<char*>(pointer));
  if (!block || block->begin() != pointer) return cudaErrorInvalidValue;
  mmap(block->pages, block->page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  m.blocks.erase(block->pages);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** block, size_t bytes, unsigned) {
  *block = std::calloc(1, bytes);
  if (!*block) return cudaErrorMemoryAllocation;
  const std::lock_guard lock(engine_mutex());
  memory().pinned[static_cast<char*>(*block)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* block) {
  const std::lock_guard lock(engine_mutex());
  drain_all();
  memory().pinned.erase(static_cast<char*>(block));
  std::free(block);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const std::lock_guard lock(engine_mutex());
  if (bytes == 0) return cudaSuccess;
  const bool into_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
  if ((block_of(to, bytes) != nullptr) != into_device || (block_of(from, bytes) != nullptr) != from_device)
    return cudaErrorInvalidValue;
  const auto copy = [=](const void* source) {
    if (Block* block = block_of(to, bytes)) memory().open(*block);
    if (Block* block = block_of(from, bytes)) memory().open(*block);
    std::memcpy(to, source, bytes);
  };
  // Pageable memory is copied before the call returns, pinned memory when the stream comes to it.
  if (kind == cudaMemcpyHostToDevice && !memory().is_pinned(static_cast<const char*>(from))) {
    const char* bytes_of = static_cast<const char*>(from);
    enqueue(stream, [copy, staged = std::vector<char>(bytes_of, bytes_of + bytes)] { copy(staged.data()); });
  } else {
    enqueue(stream, [copy, from] { copy(from); });
  }
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const std::lock_guard lock(engine_mutex());
  if (bytes == 0) return cudaSuccess;
  if (!block_of(to, bytes)) return cudaErrorInvalidValue;
  enqueue(stream, [=] {
    memory().open(*block_of(to, bytes));
    std::memset(to, value, bytes);
  });
  return cudaSuccess;
}
