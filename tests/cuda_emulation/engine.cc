// Runs kernels: one block after another, the threads of a block as fibers that switch only where they wait for each
// other. A fiber whose thread ends goes on with the next thread, so a kernel without barriers is a plain loop.
#undef _FORTIFY_SOURCE  // its longjmp takes a change of stacks for an error
#include "engine.h"

#include <fmt/format.h>
#include <nvtx3/nvToolsExt.h>
#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <numeric>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define __sanitizer_start_switch_fiber(save, bottom, size) ((void)(save))
#define __sanitizer_finish_switch_fiber(restore, bottom, size) ((void)(restore))
#define ASAN_UNPOISON_MEMORY_REGION(block, bytes)
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_emulation {
namespace {

thread_local std::vector<const char*> ranges;  // of NVTX

constexpr size_t kStack = 256 * 1024;

// A place where execution can stop and go on: a fiber's stack, or that of the host's thread.
struct Context {
  jmp_buf state;
  const void* stack = nullptr;
  size_t size = 0;
  void* fake_stack = nullptr;  // the address sanitizer's
};

struct Fiber {
  Context context;
  ucontext_t start;
  bool started = false;
  int thread = -1;
};

enum class Waits : uint8_t { no, block, warp, gone };  // gone: has left the kernel

struct Thread {
  Waits waits = Waits::no;
  Fiber* fiber = nullptr;
  Site site;
  unsigned mask = 0;   // of a warp's operation
  uint64_t value = 0;  // brought to it
  uint64_t received = 0;
  int from = 0;
};

struct Warp {
  unsigned step = 0;     // __syncwarp's passed
  unsigned waiting = 0;  // lanes at an operation of the warp
};
constexpr int kVote = -1, kSync = -2;  // in place of the lane to read

uint64_t seed = [] {
  const char* text = std::getenv("NORMA_CUDA_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 0;
}();
Counters counts;

uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// The one kernel that runs.
struct Engine {
  const char* name = nullptr;
  const std::function<void()>* body = nullptr;
  Context host;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle;
  std::deque<int> ready;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  int count = 0, started = 0, ended = 0, current = -1;
  bool backwards = false;
  unsigned phase = 0, serial = 0;
  std::exception_ptr failure;
  // Shared memory that the launch asked for.
  std::vector<unsigned char> dynamic;
  std::vector<SharedElement> dynamic_elements;
  size_t dynamic_size = 0;
} engine;

uint3 thread_index(int thread) {
  const unsigned t = static_cast<unsigned>(thread);
  return {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
}

void set_current(int thread) {
  engine.current = thread;
  threadIdx = thread_index(thread);
}

std::string text(uint3 i) { return fmt::format("({}, {}, {})", i.x, i.y, i.z); }
std::string thread_text(int thread) { return fmt::format("thread {}", text(thread_index(thread))); }
std::string site_text(const Site& site) {
  const char* slash = std::strrchr(site.file_name(), '/');
  return fmt::format("{}:{}", slash ? slash + 1 : site.file_name(), site.line());
}

[[noreturn]] void misuse(const std::string& what) { throw Misuse(place() + ": " + what); }

// --- Switching. After the first entry by ucontext, by setjmp and longjmp, which make no system call.

void fiber_main();

[[gnu::noinline]] void switch_to(Context& from, Context& to, Fiber* fresh) {
  ++counts.switches;
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.size);
  if (_setjmp(from.state) == 0) {
    if (fresh) setcontext(&fresh->start);
    _longjmp(to.state, 1);
  }
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
}

Fiber* take_fiber() {
  if (engine.idle.empty()) {
    Fiber& fiber = *engine.fibers.emplace_back(std::make_unique<Fiber>());
    void* stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) std::abort();
    mprotect(stack, 4096, PROT_NONE);
    fiber.context.stack = stack;
    fiber.context.size = kStack;
    engine.idle.push_back(&fiber);
  }
  Fiber* fiber = engine.idle.back();
  engine.idle.pop_back();
  return fiber;
}

// Goes on in the fiber; comes back where it waits, or has no more threads to run.
void resume(Fiber* fiber) {
  Fiber* fresh = nullptr;
  if (!fiber->started) {
    getcontext(&fiber->start);
    fiber->start.uc_stack.ss_sp = const_cast<void*>(fiber->context.stack);
    fiber->start.uc_stack.ss_size = kStack;
    fiber->start.uc_link = nullptr;
    makecontext(&fiber->start, fiber_main, 0);
    fiber->started = true;
    fresh = fiber;
  }
  switch_to(engine.host, fiber->context, fresh);
}

Fiber* running = nullptr;

void fiber_main() {
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
  while (true) {
    Fiber* self = running;
    while (!engine.failure && engine.started < engine.count) {
      const int i = engine.started++, thread = engine.backwards ? engine.count - 1 - i : i;
      self->thread = thread;
      engine.threads[static_cast<size_t>(thread)].fiber = self;
      set_current(thread);
      try {
        (*engine.body)();
      } catch (...) {
        engine.failure = std::current_exception();
      }
      engine.threads[static_cast<size_t>(thread)].waits = Waits::gone;
      ++engine.ended;
    }
    self->thread = -1;
    switch_to(self->context, engine.host, nullptr);
  }
}

// The running thread waits; returns when it is released. Who can go on does so at once, without the scheduler.
void wait() {
  Fiber* self = running;
  if (engine.ready.empty()) {
    switch_to(self->context, engine.host, nullptr);
  } else {
    running = engine.threads[static_cast<size_t>(engine.ready.front())].fiber;
    engine.ready.pop_front();
    if (running != self) switch_to(self->context, running->context, nullptr);
  }
  set_current(self->thread);
}

void release(int thread) {
  engine.threads[static_cast<size_t>(thread)].waits = Waits::no;
  engine.ready.push_back(thread);
}

// No thread can go on: all wait at one barrier, or there is an error to report.
void pass_barrier() {
  const Thread* first = nullptr;
  int first_index = 0, other = -1;
  for (int i = 0; i < engine.count; ++i) {
    const Thread& t = engine.threads[static_cast<size_t>(i)];
    if (t.waits == Waits::warp) {
      set_current(i);
      unsigned missing = t.mask;
      for (int lane = 0; lane < 32; ++lane) {
        const int peer = i / 32 * 32 + lane;
        if (peer >= engine.count) continue;
        const Thread& p = engine.threads[static_cast<size_t>(peer)];
        if (p.waits == Waits::warp && p.site.line() == t.site.line() && p.mask == t.mask) missing &= ~(1u << lane);
      }
      misuse(fmt::format("waits at {} for lanes {:#010x} of mask {:#010x}, which do not come there", site_text(t.site),
                         missing, t.mask));
    }
    if (t.waits == Waits::block && !first) first = &t, first_index = i;
  }
  for (int i = 0; i < engine.count && other < 0; ++i) {
    const Thread& t = engine.threads[static_cast<size_t>(i)];
    if (t.waits != Waits::block || t.site.line() != first->site.line()) other = i;
  }
  if (other >= 0) {
    set_current(first_index);
    const Thread& t = engine.threads[static_cast<size_t>(other)];
    misuse(fmt::format("waits at the barrier {}, {} {}", site_text(first->site), thread_text(other),
                       t.waits == Waits::gone ? "has left the kernel" : "at " + site_text(t.site)));
  }
  ++engine.phase;
  for (int i = 0; i < engine.count; ++i) release(engine.backwards ? engine.count - 1 - i : i);
}

void run_block() {
  engine.threads.assign(static_cast<size_t>(engine.count), {});
  engine.warps.assign(static_cast<size_t>(engine.count + 31) / 32, {});
  engine.ready.clear();
  engine.started = engine.ended = 0;
  engine.phase = 0;
  ++engine.serial;
  ++counts.blocks;
  std::fill(engine.dynamic.begin(), engine.dynamic.end(), 0xFF);
  engine.dynamic_elements.assign(engine.dynamic_size, {});
  engine.backwards = seed != 0 && (mix(seed ^ engine.serial) & 1) != 0;
  while (engine.ended < engine.count && !engine.failure) {
    if (!engine.ready.empty()) {
      const int thread = engine.ready.front();
      engine.ready.pop_front();
      running = engine.threads[static_cast<size_t>(thread)].fiber;
    } else if (engine.started < engine.count) {
      running = take_fiber();
    } else {
      try {
        pass_barrier();
      } catch (...) {
        engine.failure = std::current_exception();
      }
      continue;
    }
    resume(running);
    if (running->thread < 0) engine.idle.push_back(running);  // not always the one that was resumed
  }
  engine.current = -1;
}

// What a failed block left half-way is forgotten; a stack that is started again begins at its top.
void forget_fibers() {
  engine.idle.clear();
  for (const auto& fiber : engine.fibers) {
    fiber->started = false;
    fiber->thread = -1;
    ASAN_UNPOISON_MEMORY_REGION(fiber->context.stack, kStack);
    engine.idle.push_back(fiber.get());
  }
}

// The address sanitizer asks where the stack is that it comes back to.
void find_host_stack() {
  thread_local Context own;
  if (!own.stack) {
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    void* bottom = nullptr;
    pthread_attr_getstack(&attributes, &bottom, &own.size);
    pthread_attr_destroy(&attributes);
    own.stack = bottom;
  }
  engine.host.stack = own.stack;
  engine.host.size = own.size;
}

// A step between 1 and n that has no factor in common with n, so that i * step mod n takes every value.
uint64_t coprime_step(uint64_t n, uint64_t from) {
  uint64_t step = from % n + 1;
  while (std::gcd(step, n) != 1) ++step;
  return step;
}

void run_kernel(const char* name, const cudaLaunchConfig_t& config, const std::function<void()>& body) {
  ++counts.kernels;
  engine.name = name;
  engine.body = &body;
  find_host_stack();
  engine.failure = nullptr;
  gridDim = config.gridDim;
  blockDim = config.blockDim;
  engine.count = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
  engine.dynamic.resize(config.dynamicSmemBytes);
  engine.dynamic_size = config.dynamicSmemBytes;
  const uint64_t blocks = uint64_t{gridDim.x} * gridDim.y * gridDim.z;
  const uint64_t order = mix(seed ^ counts.kernels), step = seed == 0 ? 1 : coprime_step(blocks, order);
  for (uint64_t i = 0; i < blocks && !engine.failure; ++i) {
    const uint64_t block = seed == 0 ? i : (order % blocks + i * step) % blocks;
    blockIdx = {static_cast<unsigned>(block % gridDim.x), static_cast<unsigned>(block / gridDim.x % gridDim.y),
                static_cast<unsigned>(block / gridDim.x / gridDim.y)};
    run_block();
  }
  if (engine.failure) forget_fibers();
  if (engine.failure) std::rethrow_exception(std::exchange(engine.failure, nullptr));
}

// Waits until the lanes of `mask` are at `site`; its thread then holds what exchange and vote return.
Thread& meet(unsigned mask, uint64_t value, int from, const Site& site) {
  const int self = engine.current, first = self / 32 * 32, own = self - first;
  Thread& me = engine.threads[static_cast<size_t>(self)];
  if (!(mask >> own & 1))
    misuse(fmt::format("at {} with a mask {:#010x} that lacks its own lane {}", site_text(site), mask, own));
  me.site = site;
  me.mask = mask;
  me.value = value;
  me.from = from;
  me.waits = Waits::warp;
  unsigned& waiting = engine.warps[static_cast<size_t>(self / 32)].waiting;
  waiting |= 1u << own;
  const int lanes = std::min(32, engine.count - first);
  if (lanes == 32 && (waiting & mask) != mask) {
    wait();
    return me;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    if (lane >= lanes)
      misuse(fmt::format("at {} with lane {} in the mask, which the block does not have", site_text(site), lane));
    const Thread& peer = engine.threads[static_cast<size_t>(first + lane)];
    if (peer.waits != Waits::warp || peer.mask != mask || peer.site.line() != site.line()) {
      wait();
      return me;
    }
  }
  // The last to come: gives each lane what it asked for.
  waiting &= ~mask;
  if (from == kSync) ++engine.warps[static_cast<size_t>(self / 32)].step;
  unsigned votes = 0;
  for (int lane = 0; lane < lanes; ++lane)
    if (mask >> lane & 1 && engine.threads[static_cast<size_t>(first + lane)].value != 0) votes |= 1u << lane;
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(mask >> lane & 1)) continue;
    Thread& peer = engine.threads[static_cast<size_t>(first + lane)];
    if (peer.from >= 0 && !(mask >> peer.from & 1)) {
      set_current(first + lane);
      misuse(fmt::format("at {} reads lane {}, which is not in the mask {:#010x}", site_text(site), peer.from, mask));
    }
    peer.received = peer.from < 0 ? votes : engine.threads[static_cast<size_t>(first + peer.from)].value;
    if (first + lane == self) peer.waits = Waits::no;
    else release(first + lane);
  }
  return me;
}

}  // namespace

void set_seed(uint64_t value) { seed = value; }
Counters counters() { return counts; }
void count_wait() { ++counts.waits; }

void begin_work() { engine.name = nullptr; }
bool in_kernel() { return engine.current >= 0; }
std::string place() {
  if (!in_kernel()) return fmt::format("[{}]", engine.name ? engine.name : "copy");
  return fmt::format("[{}] block {}, {}", engine.name, text(blockIdx), thread_text(engine.current));
}

void leave_kernel(std::string& message) {
  engine.failure = std::make_exception_ptr(Misuse(std::exchange(message, {})));
  switch_to(running->context, engine.host, nullptr);
  std::abort();  // never resumed
}

int lane() { return engine.current % 32; }

uint64_t exchange(unsigned mask, uint64_t value, int from, const Site& site) {
  return meet(mask, value, from, site).received;
}
unsigned vote(unsigned mask, bool value, const Site& site) {
  return static_cast<unsigned>(meet(mask, value, kVote, site).received);
}
void sync_warp(unsigned mask, const Site& site) { meet(mask, 0, kSync, site); }
void sync_block(const Site& site) {
  Thread& me = engine.threads[static_cast<size_t>(engine.current)];
  me.waits = Waits::block;
  me.site = site;
  wait();
}

unsigned block_serial() { return engine.serial; }
DynamicShared dynamic_shared_memory() {
  return {engine.dynamic.data(), engine.dynamic_elements.data(), engine.dynamic_size};
}

void check_shared(SharedElement* elements, size_t count, int64_t index, bool write) {
  if (index < 0 || static_cast<size_t>(index) >= count)
    misuse(fmt::format("element {} of {} in shared memory", index, count));
  SharedElement& e = elements[index];
  const int self = engine.current;
  const unsigned step = engine.warps[static_cast<size_t>(self / 32)].step;
  const int warp = self / 32, several_of_warp = kSeveralOfWarp - warp;
  // Whether an access by `other` is not kept apart from this one by a barrier of the block or of the warp.
  const auto races = [&](int other, unsigned phase, unsigned at_step) {
    if (other == kNobody || other == self || phase != engine.phase) return false;
    return !((other >= 0 && other / 32 == warp) || other == several_of_warp) || at_step == step;
  };
  if (!write && !e.written) misuse(fmt::format("reads element {} of shared memory, which nobody has written", index));
  if (e.written && races(e.writer, e.write_phase, e.write_step))
    misuse(fmt::format("{} element {} of shared memory, which {} has written, without a barrier between",
                       write ? "writes" : "reads", index, thread_text(e.writer)));
  if (write && races(e.reader, e.read_phase, e.read_step))
    misuse(fmt::format("writes element {} of shared memory, which {} has read, without a barrier between", index,
                       e.reader >= 0 ? thread_text(e.reader) : "another thread"));
  if (write) {
    e.written = true;
    e.writer = self;
    e.write_phase = engine.phase;
    e.write_step = step;
  } else {
    const bool fellow = e.reader >= 0 ? e.reader / 32 == warp : e.reader == several_of_warp;
    if (e.reader == kNobody || e.reader == self || e.read_phase != engine.phase || (fellow && e.read_step != step))
      e.reader = self;
    else e.reader = fellow ? several_of_warp : kSeveral;
    e.read_phase = engine.phase;
    e.read_step = step;
  }
}

cudaError_t enqueue_kernel(const cudaLaunchConfig_t& config, std::function<void()> body) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 || grid.x > 0x7FFFFFFF ||
      block.x == 0 || block.y == 0 || block.z == 0 || block.x * block.y * block.z > 1024 || block.z > 64 ||
      config.dynamicSmemBytes > 48 * 1024)
    return cudaErrorInvalidConfiguration;
  const char* name = ranges.empty() ? "kernel" : ranges.back();
  enqueue(config.stream, [name, config, body = std::move(body)] { run_kernel(name, config, body); });
  return cudaSuccess;
}

#if defined(__SANITIZE_ADDRESS__)
extern "C" void __asan_on_error() {
  if (in_kernel()) fmt::print(stderr, "In the emulated kernel {}:\n", place());
}
#endif

}  // namespace cuda_emulation

int nvtxRangePushA(const char* name) {
  cuda_emulation::ranges.push_back(name);
  return static_cast<int>(cuda_emulation::ranges.size()) - 1;
}
int nvtxRangePop() {
  cuda_emulation::ranges.pop_back();
  return static_cast<int>(cuda_emulation::ranges.size());
}
