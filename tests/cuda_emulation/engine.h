// Inside of the emulation, and what its tests ask of it.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace cuda_emulation {

// What a kernel did that no kernel may, with its name, block and thread. Thrown where the host waits for the stream.
class Misuse : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// In which order blocks and threads run: another for each seed, 0 (the default) ascending. Also from the environment:
// NORMA_CUDA_SEED.
void set_seed(uint64_t seed);

struct Counters {
  uint64_t kernels = 0, blocks = 0, switches = 0;  // switches: from thread to thread
  uint64_t waits = 0;                              // of the host for the device
};
Counters counters();

// --- Between engine.cc and memory.cc.

void begin_work();
void count_wait();
// "[op] block (0, 0, 0), thread (3, 0, 0)" of the thread that runs, "[op]" after a kernel.
std::string place();
bool in_kernel();
// From a signal handler: fails the kernel that runs. Takes the message, since no destructor will run.
[[noreturn]] void leave_kernel(std::string& message);

// Runs work that may touch the memory of `device`; then closes what it touched.
void run_on_device(int device, const std::function<void()>& work);
int device_of(cudaStream_t stream);
cudaError_t drain(cudaStream_t stream);

}  // namespace cuda_emulation
