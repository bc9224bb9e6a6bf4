// Tensor: a shared handle to a strided array. Copying a Tensor copies the handle, not the data.
// It is not the place of differentiable operations: those are free functions in ops/, recorded by the tape. The view
// functions below (namespace view) and the members here move data without recording anything, but for operator[], which
// C++ wants to be a member, and slice(), which is written as often.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <memory>
#include <vector>

#include "norma/core/device.h"
#include "norma/core/dtype.h"
#include "norma/core/shape.h"

namespace norma {

// A block of device memory. `pins` counts the pending tape entries that have saved it: while there are any, writing
// into it is an error (the gradient would be computed from other values than the forward pass saw). Of an entry that a
// sweep has left behind, nothing is pinned any more: should it be swept after all, the number of writes tells whether
// the values are still those.
class Storage {
 public:
  Storage(size_t bytes, Device device);
  // Memory of somebody else's, on the CPU.
  Storage(void* data, size_t bytes, std::function<void(void*)> release)
      : data_(data), bytes_(bytes), device_(cpu_device), release_(std::move(release)) {}
  ~Storage();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  void pin(const char* op) {
    pinned_by_.store(op, std::memory_order_relaxed);
    pins_.fetch_add(1, std::memory_order_relaxed);
  }
  void unpin() { pins_.fetch_sub(1, std::memory_order_relaxed); }
  bool pinned() const { return pins_.load(std::memory_order_relaxed) > 0; }
  const char* pinned_by() const { return pinned_by_.load(std::memory_order_relaxed); }
  void count_write() { writes_.fetch_add(1, std::memory_order_relaxed); }
  int64_t writes() const { return writes_.load(std::memory_order_relaxed); }

 private:
  void* data_;
  size_t bytes_;
  Device device_;
  std::function<void(void*)> release_{};  // null where the memory is the pool's
  std::atomic<int> pins_{0};
  std::atomic<const char*> pinned_by_{nullptr};
  std::atomic<int64_t> writes_{0};
};

class Tensor {
 public:
  Tensor() = default;  // undefined: no shape, no data
  // Uninitialised, contiguous.
  explicit Tensor(const Shape& shape, DType dtype = f32, Device device = cpu_device);
  explicit Tensor(std::initializer_list<int64_t> shape) : Tensor(Shape(shape)) {}  // else {3} might be a Tensor, too
  // A view: shares `storage`, and stays inside of it. Offset and strides are counted in elements.
  Tensor(std::shared_ptr<Storage> storage, const Shape& shape, const Shape& strides, int64_t offset, DType dtype);

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl().shape; }
  const Shape& strides() const { return impl().strides; }
  int rank() const { return shape().rank(); }
  int64_t dim(int64_t axis) const { return shape().dim(axis); }  // negative counts from the end
  int64_t numel() const { return shape().numel(); }
  // Of its elements; 0 if undefined.
  int64_t bytes() const { return defined() ? numel() * static_cast<int64_t>(size_of(dtype())) : 0; }
  int64_t offset() const { return impl().offset; }
  DType dtype() const { return impl().dtype; }
  Device device() const { return impl().storage->device(); }
  bool is_floating() const { return norma::is_floating(dtype()); }
  bool is_contiguous() const;
  const std::shared_ptr<Storage>& storage() const { return impl().storage; }

  // Elements, on the CPU only; T must be the dtype. An error unless the tensor is contiguous, so that they lie one
  // after the other: contiguous() makes it so. To write is an error, too, while a pending tape entry has saved the
  // storage.
  template <class T>
  const T* data() const {
    return static_cast<const T*>(raw(dtype_of<T>(), Device::Kind::cpu, kContiguous));
  }
  template <class T>
  T* mutable_data() const {
    return static_cast<T*>(raw(dtype_of<T>(), Device::Kind::cpu, kContiguous | kWrite));
  }
  // The same of any tensor: element [i, j, ...] is at i * strides()[0] + j * strides()[1] + ... To write is an error
  // also where several elements are one place in memory, as in what view::expand returns.
  template <class T>
  const T* strided_data() const {
    return static_cast<const T*>(raw(dtype_of<T>(), Device::Kind::cpu));
  }
  template <class T>
  T* mutable_strided_data() const {
    return static_cast<T*>(raw(dtype_of<T>(), Device::Kind::cpu, kWrite));
  }
  // The same on a CUDA device, of any tensor: for kernels.
  template <class T>
  const T* cuda_data() const {
    return static_cast<const T*>(raw(dtype_of<T>(), Device::Kind::cuda));
  }
  template <class T>
  T* mutable_cuda_data() const {
    return static_cast<T*>(raw(dtype_of<T>(), Device::Kind::cuda, kWrite));
  }
  // Elements on whatever device they are; null if the tensor is undefined. For optional arguments of kernels.
  template <class T>
  const T* data_or_null() const {
    return defined() ? static_cast<const T*>(raw(dtype_of<T>(), device().kind)) : nullptr;
  }
  template <class T>
  T* mutable_data_or_null() const {
    return defined() ? static_cast<T*>(raw(dtype_of<T>(), device().kind, kWrite)) : nullptr;
  }
  // The bytes of the elements, whatever they are, on the CPU only; an error unless the tensor is contiguous. Nothing
  // says here whether they may be written to.
  std::span<std::byte> memory() const;
  // The functions select and slice of ops/shape/views.h, recorded and with their gradients, and defined there; nothing
  // in core calls them. x[i] is entry i of the first axis, x[-1] the last.
  Tensor operator[](int64_t i) const;
  Tensor slice(int64_t axis, int64_t start, int64_t stop = kEnd, int64_t step = 1) const;

  double item() const;  // the value of a one-element tensor, whatever its dtype
  double at(const Shape& index) const;
  template <class T>
  std::vector<T> to_vector() const {  // row-major copy on the host, converted to T
    const Tensor host = to(cpu_device).to(dtype_of<T>()).contiguous();
    const T* values = host.data<T>();
    return std::vector<T>(values, values + numel());
  }

  // Copies where needed, else the same tensor. None of these is recorded; those of ops/shape/views.h and
  // ops/elementwise/cast.h are.
  Tensor contiguous() const;  // undefined if this is: for optional arguments of ops
  Tensor to(DType wanted) const { return wanted == dtype() ? *this : copy_as(wanted); }
  Tensor to(Device device) const;
  Tensor clone() const { return copy_as(dtype()); }  // always a fresh, contiguous copy
  // The same data, without the tape's knowledge of it.
  Tensor detach() const;

  // In place, for whoever owns the data; an error while a pending tape entry has saved it, and in a view several of
  // whose elements are one place in memory.
  void fill(double value) const;
  void copy_from(const Tensor& source) const;  // same shape; converts dtype and device; the two may overlap

  // --- What autograd knows about this value (see autograd/tape.h).
  bool requires_grad() const { return impl_ && (impl_->requires_grad || impl_->node.tape != 0); }
  bool is_leaf() const { return node().tape == 0; }    // not made by a recorded op
  Tensor& set_requires_grad(bool on = true);           // leaves of floating dtype only
  Tensor grad() const { return Tensor(impl().grad); }  // undefined until a sweep reached this leaf
  // Same shape, dtype and device; shares the data, and leaves them alone when a sweep adds while others hold them too.
  // An undefined tensor clears it.
  void set_grad(const Tensor& grad) const;
  struct Node {
    uint64_t tape = 0;  // serial number of the tape that recorded the op which made this value; 0: none
    int64_t id = -1;    // the value's number on that tape
  };
  Node node() const { return impl_ ? impl_->node : Node{}; }
  void set_node(Node node) const { impl().node = node; }
  const void* identity() const { return impl_.get(); }        // equal for handles of the same tensor
  std::weak_ptr<const void> handle() const { return impl_; }  // expires with the last of them

  std::string str() const;  // as numpy prints it, with dtype and shape
  friend std::ostream& operator<<(std::ostream& out, const Tensor& x);

 private:
  struct Impl {
    Shape shape, strides;
    int64_t offset = 0;
    DType dtype = f32;
    std::shared_ptr<Storage> storage;
    bool requires_grad = false;
    Node node{};
    std::shared_ptr<Impl> grad{};
  };
  explicit Tensor(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  Impl& impl() const {
    check(impl_ != nullptr, running_op ? running_op : "tensor", "an undefined tensor was used");
    return *impl_;
  }
  Tensor copy_as(DType wanted) const;
  enum Access : int { kRead = 0, kWrite = 1, kContiguous = 2 };  // how elements are asked for
  void* raw(DType wanted, Device::Kind kind, int access = kRead) const;
  void check_writable(const char* op) const;

  std::shared_ptr<Impl> impl_;
};

// Makers. Contents of empty() are unspecified.
inline Tensor empty(const Shape& shape, DType dtype = f32, Device device = cpu_device) {
  return Tensor(shape, dtype, device);
}
inline Tensor empty_like(const Tensor& x) { return Tensor(x.shape(), x.dtype(), x.device()); }
Tensor full(const Shape& shape, double value, DType dtype = f32, Device device = cpu_device);
inline Tensor zeros(const Shape& shape, DType dtype = f32, Device device = cpu_device) {
  return full(shape, 0, dtype, device);
}
inline Tensor ones(const Shape& shape, DType dtype = f32, Device device = cpu_device) {
  return full(shape, 1, dtype, device);
}
inline Tensor zeros_like(const Tensor& x) { return zeros(x.shape(), x.dtype(), x.device()); }
inline Tensor ones_like(const Tensor& x) { return ones(x.shape(), x.dtype(), x.device()); }
inline Tensor scalar(double value, DType dtype = f32) { return full({}, value, dtype); }
// start, start + step, ... before stop, computed in f64: integers are exact below 2^52. Errors: a step of 0, one that
// leads away from stop, a number that is not finite, more elements than there is memory for.
Tensor arange(double start, double stop, double step, DType dtype);
inline Tensor arange(int64_t n, DType dtype = i64) { return arange(0, static_cast<double>(n), 1, dtype); }  // 0 ... n-1
// i64 of integers, f32 where one of the three is a floating number.
template <class A, class B, class C = int, class Sum = decltype(A() + B() + C())>
Tensor arange(A start, B stop, C step = 1) {
  return arange(double(start), double(stop), double(step), std::is_integral_v<Sum> ? i64 : f32);
}
// n numbers at equal distances, the first `start`, the last `stop`: of one, `start`. Error: a number that is not
// finite.
Tensor linspace(double start, double stop, int64_t n, DType dtype = f32);
// A tensor over memory that is not norma's, on the CPU: shape.numel() elements, row by row; boolean ones are 0 or 1.
// What is written into the one is in the other. With the last tensor that shares it goes deleter(data), which may hold
// what `data` is a part of, a mapped file, say; without one, the memory is the caller's, and has to outlive the
// tensors. Errors, after which it still is the caller's: no memory, or an address that is no multiple of an element's
// size.
Tensor from_blob(void* data, const Shape& shape, DType dtype = f32, std::function<void(void*)> deleter = {});
// From values in row-major order; their number must be shape.numel(). Of int, the elements are i64.
template <std::ranges::contiguous_range Values>
Tensor tensor(const Values& values, const Shape& shape) {
  using T = std::ranges::range_value_t<Values>;
  using Element = std::conditional_t<std::is_same_v<T, int>, int64_t, T>;
  check(static_cast<int64_t>(values.size()) == shape.numel(), "tensor", "{} values for shape {}", values.size(), shape);
  const Tensor x(shape, dtype_of<Element>());
  std::copy(values.begin(), values.end(), x.mutable_data<Element>());
  return x;
}
template <class T>
Tensor tensor(std::initializer_list<T> values, const Shape& shape) {
  return tensor(std::span<const T>(values.begin(), values.size()), shape);
}
// From a list, tensor({1., 2.}), of rows, tensor({{1., 2.}, {3., 4.}}), or of matrices. Rows of two lengths do not
// compile.
template <class T, size_t N>
Tensor tensor(const T (&values)[N]) {
  return tensor(std::span<const T>(values), N);
}
template <class T, size_t N, size_t M>
Tensor tensor(const T (&rows)[N][M]) {
  return tensor(std::span<const T>(rows[0], N * M), {N, M});
}
template <class T, size_t N, size_t M, size_t K>
Tensor tensor(const T (&matrices)[N][M][K]) {
  return tensor(std::span<const T>(matrices[0][0], N * M * K), {N, M, K});
}

// Views: the same storage under another shape, of any dtype, on any device. Nothing is copied (but see reshape) and
// nothing recorded: ops/shape/views.h has the same functions with their gradients.
namespace view {
// x's elements, in row-major order, in another shape; one extent may be -1, which stands for what is left. A copy where
// x is not contiguous. Errors: another number of elements, more than one -1, a -1 beside an extent of 0.
Tensor reshape(const Tensor& x, const Shape& shape);
// Axis i of the result is axis axes[i] of x. Errors: not every axis of x once.
Tensor permute(const Tensor& x, const Shape& axes);
// The entries start, start + step, ... below stop of an axis. All but step may be negative: that counts from the end,
// which kEnd is. Errors: unless 0 <= start <= stop <= extent, so counted, and step >= 1 (no stride is negative, so a
// view runs forwards; slice of ops/shape/views.h runs backwards, too).
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop = kEnd, int64_t step = 1);
// x broadcast to `shape`, with strides of 0 along what is repeated. Error: it does not broadcast.
Tensor expand(const Tensor& x, const Shape& shape);
}  // namespace view

}  // namespace norma

// Also of what is derived from it: parameters and buffers.
template <std::derived_from<norma::Tensor> T>
struct fmt::formatter<T> : norma::Formatter<&norma::Tensor::str> {};
