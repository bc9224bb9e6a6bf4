// core/backend.h on CUDA devices.
#include <array>
#include <cstring>
#include <deque>
#include <mutex>

#include "norma/core/backend.h"
#include "norma/cuda/launch.h"

namespace norma::cuda {
namespace {

template <class T, class S>
void convert_elements(const StridedLoop<2>& loop, const S* from, T* to) {
  map("copy", loop, to, [=] __device__(const Offsets<2>& at) { return convert<T>(from[at[0]]); });
}

template <class T>
void fill_elements(const StridedLoop<1>& loop, T* to, T value) {
  for_each("fill", loop, [=] __device__(const Offsets<1>& at) { to[at[0]] = value; });
}

template <class T>
void add_elements(const StridedLoop<2>& loop, const T* from, T* to) {
  map("add_into", loop, to, [=] __device__(const Offsets<2>& at) { return to[at[1]] + from[at[0]]; });
}

template <class T>
void fill_blocks(int64_t n, const RandomFill& fill, T* to) {
  for_each("fill_random", (n + 3) / 4, [=] __device__(int64_t block) {
    const std::array<double, 4> values = fill.block(block);
    for (int64_t k = 0; k < 4 && 4 * block + k < n; ++k) to[4 * block + k] = static_cast<T>(values[k]);
  });
}

struct Event {
  cudaEvent_t it;
  Event() { check_cuda("upload", cudaEventCreateWithFlags(&it, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(it); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) const { check_cuda("upload", cudaEventRecord(it, stream)); }
  void hold(cudaStream_t stream) const { check_cuda("upload", cudaStreamWaitEvent(stream, it, 0)); }
};

// Copies from pinned memory on a stream of their own.
class Uploads {
 public:
  explicit Uploads(Context& context) : context_(context), pinned_({allocate, release, fill}, 0) {
    check_cuda("upload", cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }

  std::function<Tensor()> begin(const Tensor& host) {
    const size_t bytes = host.numel() * size_of(host.dtype());
    const std::lock_guard lock(mutex_);
    while (!staged_.empty() && cudaEventQuery(staged_.front().arrived->it) == cudaSuccess) {
      pinned_.release(staged_.front().block, staged_.front().bytes);
      staged_.pop_front();
    }
    void* const block = pinned_.allocate(bytes);
    std::memcpy(block, host.memory().data(), bytes);
    const Tensor there(host.shape(), host.dtype(), Device{Device::Kind::cuda, context_.device});
    const Event unused;  // whatever the work asked for so far does with the memory that `there` has been given
    unused.record(context_.stream);
    unused.hold(stream_);
    const auto arrived = std::make_shared<Event>();
    check_cuda("upload", cudaMemcpyAsync(there.storage()->data(), block, bytes, cudaMemcpyHostToDevice, stream_));
    arrived->record(stream_);
    staged_.push_back({arrived, block, bytes});
    const auto upload = std::make_shared<Upload>(there, arrived, context_.stream);
    return [upload] {
      upload->arrived->hold(upload->stream);
      return upload->there;
    };
  }

 private:
  struct Upload {
    Tensor there;
    std::shared_ptr<Event> arrived;
    cudaStream_t stream;
    Upload(const Tensor& t, std::shared_ptr<Event> a, cudaStream_t s) : there(t), arrived(std::move(a)), stream(s) {}
    ~Upload() { cudaStreamWaitEvent(stream, arrived->it, 0); }  // or its memory, unasked for, would go to others early
  };
  struct Staged {
    std::shared_ptr<Event> arrived;
    void* block;
    size_t bytes;
  };
  static void* allocate(size_t bytes, int) {
    void* block = nullptr;
    return cudaHostAlloc(&block, bytes, cudaHostAllocDefault) == cudaSuccess ? block : nullptr;
  }
  static void release(void* block, int) { cudaFreeHost(block); }
  static void fill(void* block, int byte, size_t bytes, int) { std::memset(block, byte, bytes); }

  Context& context_;
  MemoryPool pinned_;
  cudaStream_t stream_;
  std::mutex mutex_;
  std::deque<Staged> staged_;  // copies that may not have arrived, in their order
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(int device) : context_(cuda::select(device)), uploads_(context_) {}

  MemoryPool& memory() override { return context_.memory; }

  void copy(const Tensor& from, const Tensor& to) override {
    select();
    dispatch(to.dtype(), [&]<class T>() {
      if (from.dtype() == to.dtype() && from.is_contiguous() && to.is_contiguous()) {
        const size_t bytes = to.numel() * sizeof(T);
        check_cuda("copy", cudaMemcpyAsync(to.mutable_cuda_data<T>(), from.cuda_data<T>(), bytes,
                                           cudaMemcpyDeviceToDevice, context_.stream));
      } else {
        dispatch(from.dtype(), [&]<class S>() {
          convert_elements(elements_of(from, to), from.cuda_data<S>(), to.mutable_cuda_data<T>());
        });
      }
    });
  }

  Tensor from_host(const Tensor& host) override {
    select();
    const Tensor there(host.shape(), host.dtype(), Device{Device::Kind::cuda, context_.device});
    const std::span<const std::byte> from = host.memory();
    check_cuda("copy", cudaMemcpyAsync(there.storage()->data(), from.data(), from.size(), cudaMemcpyHostToDevice,
                                       context_.stream));
    return there;
  }
  Tensor to_host(const Tensor& x) override {
    select();
    const Tensor host(x.shape(), x.dtype());
    const std::span<std::byte> to = host.memory();
    const std::byte* from = static_cast<const std::byte*>(x.storage()->data()) + x.offset() * size_of(x.dtype());
    check_cuda("copy", cudaMemcpyAsync(to.data(), from, to.size(), cudaMemcpyDeviceToHost, context_.stream));
    synchronize("copy", context_);
    return host;
  }
  std::function<Tensor()> upload(const Tensor& host) override {
    select();
    return uploads_.begin(host);
  }

  void fill(const Tensor& to, double value) override {
    select();
    dispatch(to.dtype(),
             [&]<class T>() { fill_elements(elements_of(to), to.mutable_cuda_data<T>(), convert<T>(value)); });
  }

  void add_into(const Tensor& to, const Tensor& from) override {
    select();
    dispatch_floating("add_into", to.dtype(), [&]<class T>() {
      add_elements(elements_of(from, to), from.cuda_data<T>(), to.mutable_cuda_data<T>());
    });
  }

  void fill_random(const char* op, const Tensor& to, const RandomFill& fill) override {
    select();
    dispatch_floating(op, to.dtype(), [&]<class T>() { fill_blocks(to.numel(), fill, to.mutable_cuda_data<T>()); });
  }

 private:
  void select() { cuda::select(context_.device); }  // whoever has kept a reference
  Context& context_;
  Uploads uploads_;
};

}  // namespace

Backend& backend(int device) {
  static std::array<Backend*, 64> backends{};  // never destroyed, as their contexts
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  cuda::select(device);  // throws where there is none
  Backend*& made = backends[device];
  if (!made) made = new CudaBackend(device);
  return *made;
}

}  // namespace norma::cuda
