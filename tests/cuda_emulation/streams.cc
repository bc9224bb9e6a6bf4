// Streams and events. Work waits in its stream's queue until the host synchronises, as late as the real thing may run
// it: what forgets to wait reads what is not there yet.
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "engine.h"

namespace cuda_emulation {

struct Stream {
  int device = 0;
  std::deque<std::function<void()>> queue;
  uint64_t done = 0, asked = 0;  // pieces of work
  std::exception_ptr failure;    // the first since the host last waited
};
struct Event {
  Stream* stream = nullptr;
  uint64_t after = 0;
};

namespace {

std::recursive_mutex mutex;  // of all that is emulated
std::vector<std::unique_ptr<Stream>> streams;
thread_local int current_device = 0;
constexpr int kDevices = 2;

Stream& stream_of(cudaStream_t stream) {
  static Stream defaults[kDevices];
  for (int i = 0; i < kDevices; ++i) defaults[i].device = i;
  return stream ? *stream : defaults[current_device];
}

void run_until(Stream& stream, uint64_t after) {
  while (stream.done < after) {
    const std::function<void()> work = std::move(stream.queue.front());
    stream.queue.pop_front();
    ++stream.done;
    try {
      run_on_device(stream.device, work);
    } catch (...) {
      if (!stream.failure) stream.failure = std::current_exception();
    }
  }
}

cudaError_t wait_until(Stream& stream, uint64_t after) {
  const std::lock_guard lock(mutex);
  count_wait();
  run_until(stream, after);
  if (stream.failure) std::rethrow_exception(std::exchange(stream.failure, nullptr));
  return cudaSuccess;
}

}  // namespace

std::recursive_mutex& engine_mutex() { return mutex; }

void enqueue(cudaStream_t stream, std::function<void()> work) {
  const std::lock_guard lock(mutex);
  Stream& to = stream_of(stream);
  to.queue.push_back(std::move(work));
  ++to.asked;
}

int device_of(cudaStream_t stream) { return stream_of(stream).device; }
cudaError_t drain(cudaStream_t stream) { return wait_until(stream_of(stream), stream_of(stream).asked); }
void drain_all() {
  const std::lock_guard lock(mutex);
  count_wait();
  for (const auto& stream : streams) run_until(*stream, stream->asked);
}

}  // namespace cuda_emulation

using namespace cuda_emulation;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = kDevices;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= kDevices) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 4;  // multiprocessors
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return cudaSuccess; }  // the functions return all there is
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorNotReady: return "cudaErrorNotReady";
  }
  return "an unknown error";
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const std::lock_guard lock(mutex);
  streams.push_back(std::make_unique<Stream>());
  streams.back()->device = current_device;
  *stream = streams.back().get();
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  run_until(*stream, stream->asked);
  std::erase_if(streams, [&](const auto& s) { return s.get() == stream; });
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return drain(stream); }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (event->stream) enqueue(stream, [from = event->stream, after = event->after] { run_until(*from, after); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new Event;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  event->stream = &stream_of(stream);
  event->after = event->stream->asked;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return event->stream ? wait_until(*event->stream, event->after) : cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(mutex);
  return !event->stream || event->stream->done >= event->after ? cudaSuccess : cudaErrorNotReady;
}
