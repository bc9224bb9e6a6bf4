// Backend: the little that core and autograd need of a device, so that moving a tensor or summing the gradients of a
// fan-out needs no kernel of a higher floor.
#pragma once

#include "norma/core/device.h"
#include "norma/core/memory.h"
#include "norma/core/philox.h"

namespace norma {

class Tensor;

class Backend {
 public:
  virtual ~Backend() = default;
  virtual MemoryPool& memory() = 0;
  // to[i] = from[i], converting the dtype; same shape, any strides, both on this device.
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  // Contiguous tensors, from the host's memory to the device's and the other way round.
  virtual Tensor from_host(const Tensor& host) = 0;
  virtual Tensor to_host(const Tensor& x) = 0;
  // Begins to copy `host`, which is contiguous, and returns. What it returns gives the copy: work that is asked of the
  // device from then on waits for it, the host does not, nor does what the device is doing meanwhile.
  virtual std::function<Tensor()> upload(const Tensor& host) = 0;
  virtual void fill(const Tensor& to, double value) = 0;
  // to[i] += from[i]; same shape and floating dtype, any strides.
  virtual void add_into(const Tensor& to, const Tensor& from) = 0;
  // `to` floating and contiguous.
  virtual void fill_random(const char* op, const Tensor& to, const RandomFill& fill) = 0;
};

// Makes the device the one that the calling thread starts kernels on. Throws where the device's backend is not built,
// or the machine lacks the device.
Backend& backend(Device device);
namespace cuda {
Backend& backend(int device);
int device_count();  // 0, too, where the CUDA backend is not built
}  // namespace cuda

}  // namespace norma
