#include "norma/core/tensor.h"

#include <cmath>
#include <numeric>

#include "norma/core/backend.h"
#include "norma/core/strided.h"

namespace norma {

Storage::Storage(size_t bytes, Device device)
    : data_(backend(device).memory().allocate(bytes)), bytes_(bytes), device_(device) {}

Storage::~Storage() { release_ ? release_(data_) : backend(device_).memory().release(data_, bytes_); }

// The bytes of such a tensor. Throws unless they can be counted, and its strides and offsets, empty axes taken for
// ones.
static size_t bytes_of(const Shape& shape, DType dtype) {
  int64_t elements = 1;
  for (int64_t extent : shape) {
    check(extent >= 0, "tensor", "negative extent in shape {}", shape);
    check(!__builtin_mul_overflow(elements, std::max<int64_t>(extent, 1), &elements) &&
              elements < int64_t{1} << (sizeof(size_t) == 8 ? 46 : 28),
          "tensor", "shape {} is too large", shape);
  }
  return shape.numel() * size_of(dtype);
}

// Whether two elements are one place in memory: along an axis of stride 0, or where i steps on one axis are j on
// another. (What takes three axes to meet is not seen. No function here makes such a view.)
static bool overlaps_itself(const Tensor& x) {
  if (x.is_contiguous()) return false;
  const Shape &n = x.shape(), &step = x.strides();
  for (int i = 0; i < x.rank(); ++i) {
    if (n[i] == 1) continue;
    if (step[i] == 0) return true;
    for (int j = 0; j < i; ++j) {
      const int64_t common = std::gcd(step[i], step[j]);
      if (step[j] / common < n[i] && step[i] / common < n[j]) return true;
    }
  }
  return false;
}

// (Braces: the shape is checked before anything else is made of it.)
Tensor::Tensor(const Shape& shape, DType dtype, Device device)
    : Tensor{std::make_shared<Storage>(bytes_of(shape, dtype), device), shape, contiguous_strides(shape), 0, dtype} {}

Tensor::Tensor(std::shared_ptr<Storage> storage, const Shape& shape, const Shape& strides, int64_t offset,
               DType dtype) {
  const size_t bytes = bytes_of(shape, dtype);
  check(strides.rank() == shape.rank(), "tensor", "{} strides for shape {}", strides.rank(), shape);
  int64_t last = offset;
  bool inside = offset >= 0;
  for (int i = 0; i < shape.rank(); ++i) {
    inside = inside && strides[i] >= 0;
    last = saturating(std::max<int64_t>(shape[i] - 1, 0), strides[i], last);
  }
  // (A view of nothing may lie anywhere that can be counted in bytes.)
  check(inside && last < (bytes == 0 ? INT64_MAX / 8 : static_cast<int64_t>(storage->bytes() / size_of(dtype))),
        "tensor", "a view of shape {} ({}), strides {}, offset {} reaches outside of its storage of {} bytes", shape,
        dtype, strides, offset, storage->bytes());
  impl_ = std::make_shared<Impl>(Impl{shape, strides, offset, dtype, std::move(storage)});
}

bool Tensor::is_contiguous() const {
  const Shape &n = shape(), &step = strides();
  uint64_t dense = 1;  // may overflow, in a shape without elements
  for (int i = rank(); i-- > 0; dense *= static_cast<uint64_t>(n[i]))
    if (n[i] != 1 && static_cast<uint64_t>(step[i]) != dense) return numel() == 0;
  return true;
}

void* Tensor::raw(DType wanted, Device::Kind kind, int access) const {
  check(!(access & kContiguous) || is_contiguous(), "tensor",
        "the elements of a view of shape {}, strides {}, do not lie one after the other: take contiguous() first, or "
        "strided_data() and go by the strides",
        shape(), strides());
  if (access & kWrite) check_writable("tensor");
  check(dtype() == wanted, "tensor", "{} elements asked of a tensor of {}: shape {}", wanted, dtype(), shape());
  check(device().kind == kind, "tensor", "the elements of a tensor on {} asked for {}: move it with to(Device) first",
        device(), kind == Device::Kind::cpu ? "on the CPU" : "on a CUDA device");
  return static_cast<char*>(storage()->data()) + offset() * static_cast<int64_t>(size_of(wanted));
}

void Tensor::check_writable(const char* op) const {
  check(!storage()->pinned(), op,
        "in-place write into a tensor that PackedWeights or a pending tape entry has saved (op '{}'): run backward or "
        "end it first, or write into a clone(): shape {}",
        storage()->pinned_by(), shape());
  check(!overlaps_itself(*this), op,
        "in-place write into a view of shape {}, strides {}, in which several elements are one place in memory: write "
        "into what it is a view of, or into a clone()",
        shape(), strides());
  storage()->count_write();
}

std::span<std::byte> Tensor::memory() const {
  return {static_cast<std::byte*>(raw(dtype(), Device::Kind::cpu, kContiguous)), static_cast<size_t>(bytes())};
}

double Tensor::item() const {
  check(numel() == 1, "item", "wants one element, the tensor has shape {}", shape());
  return to_vector<double>()[0];
}

double Tensor::at(const Shape& index) const {
  check(index.rank() == rank(), "at", "{} indices for shape {}", index.rank(), shape());
  int64_t place = offset();
  for (int i = 0; i < rank(); ++i) {
    const int64_t k = index[i];
    check(k >= 0 && k < shape()[i], "at", "index {} on axis {} is out of range: shape {}", k, i, shape());
    place += k * strides()[i];
  }
  return Tensor(storage(), {}, {}, place, dtype()).item();
}

Tensor Tensor::contiguous() const { return !defined() || is_contiguous() ? *this : clone(); }

Tensor Tensor::copy_as(DType wanted) const {
  Tensor copy(shape(), wanted, device());
  backend(device()).copy(*this, copy);
  return copy;
}

Tensor Tensor::to(Device wanted) const {
  if (wanted == device()) return *this;
  return backend(wanted).from_host(backend(device()).to_host(contiguous()));
}

Tensor Tensor::detach() const { return Tensor(storage(), shape(), strides(), offset(), dtype()); }

void Tensor::fill(double value) const {
  check_writable("fill");
  backend(device()).fill(*this, value);
}

void Tensor::copy_from(const Tensor& source) const {
  check(source.shape() == shape(), "copy_from", "shapes differ: {} into {}", source.shape(), shape());
  check_writable("copy_from");
  const Tensor from = source.to(device());
  backend(device()).copy(from.storage() == storage() ? from.clone() : from, *this);  // they may overlap
}

Tensor& Tensor::set_requires_grad(bool on) {
  check(is_floating(), "requires_grad", "only floating tensors have gradients, this is {}", dtype());
  check(is_leaf(), "requires_grad", "only for leaves; this value was made by a recorded op: detach() it first");
  impl().requires_grad = on;
  return *this;
}

void Tensor::set_grad(const Tensor& grad) const {
  if (grad.defined())
    check(grad.shape() == shape() && grad.dtype() == dtype() && grad.device() == device(), "set_grad",
          "a gradient of shape {} ({}, {}) for a tensor of shape {} ({}, {})", grad.shape(), grad.dtype(),
          grad.device(), shape(), dtype(), device());
  impl().grad = grad.defined() ? grad.detach().impl_ : nullptr;  // a handle of its own, so that sharing is seen
}

Tensor full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor x(shape, dtype, device);
  backend(device).fill(x, value);
  return x;
}

// f(0), f(1), ... f(n - 1).
static Tensor sequence(int64_t n, DType dtype, auto f) {
  const Tensor x(n, f64);
  for (int64_t i = 0; i < n; ++i) x.mutable_data<double>()[i] = f(static_cast<double>(i));
  return x.to(dtype);
}

Tensor arange(double start, double stop, double step, DType dtype) {
  const double n = std::ceil((stop - start) / step);  // NaN, or infinite, where start or stop is or step is 0
  check(n >= 0 && std::isfinite(n) && std::isfinite(step), "arange", "no steps of {} from {} to {}", step, start, stop);
  return sequence(convert<int64_t>(n), dtype, [=](double i) { return start + i * step; });
}

Tensor linspace(double start, double stop, int64_t n, DType dtype) {
  check(std::isfinite(start) && std::isfinite(stop), "linspace", "from {} to {}: want finite numbers", start, stop);
  const auto last = static_cast<double>(std::max<int64_t>(n, 2) - 1);
  return sequence(n, dtype, [=](double i) { return std::lerp(start, stop, i / last); });
}

Tensor from_blob(void* data, const Shape& shape, DType dtype, std::function<void(void*)> deleter) {
  const size_t bytes = bytes_of(shape, dtype);
  check((data || bytes == 0) && reinterpret_cast<uintptr_t>(data) % size_of(dtype) == 0, "from_blob",
        "at {} there are no elements of {}, whose addresses are multiples of {}", data, dtype, size_of(dtype));
  if (!deleter) deleter = [](void*) {};
  return Tensor(std::make_shared<Storage>(data, bytes, std::move(deleter)), shape, contiguous_strides(shape), 0, dtype);
}

namespace view {

Tensor reshape(const Tensor& x, const Shape& wanted) {
  const Shape& from = x.shape();
  check(std::all_of(wanted.begin(), wanted.end(), [](int64_t extent) { return extent >= -1; }), "reshape",
        "negative extent in shape {}", wanted);
  check(std::count(wanted.begin(), wanted.end(), -1) <= 1, "reshape", "more than one -1 in {}", wanted);
  Shape shape = wanted;
  const auto unknown = static_cast<int>(std::find(wanted.begin(), wanted.end(), -1) - wanted.begin());
  if (unknown < wanted.rank()) {  // the -1
    const int64_t known = wanted.with(unknown, 1).numel();
    check(known > 0 && from.numel() % known == 0, "reshape", "{} does not fit into {}", from, wanted);
    shape[unknown] = from.numel() / known;
  }
  check(shape.numel() == from.numel(), "reshape", "{} has {} elements, {} wants {}", from, from.numel(), wanted,
        shape.numel());
  const Tensor source = x.contiguous();
  return Tensor(source.storage(), shape, contiguous_strides(shape), source.offset(), x.dtype());
}

Tensor permute(const Tensor& x, const Shape& axes) {
  check(axes.rank() == x.rank(), "permute", "{} axes {} for shape {}", axes.rank(), axes, x.shape());
  Shape shape = x.shape(), strides = x.strides();
  unsigned seen = 0;
  for (int i = 0; i < x.rank(); ++i) {
    const int axis = x.shape().normalize_axis(axes[i], "permute");
    check(!(seen >> axis & 1), "permute", "axis {} stands twice in {}: shape {}", axis, axes, x.shape());
    seen |= 1u << axis;
    shape[i] = x.shape()[axis];
    strides[i] = x.strides()[axis];
  }
  return Tensor(x.storage(), shape, strides, x.offset(), x.dtype());
}

Tensor slice(const Tensor& x, int64_t along, int64_t start, int64_t stop, int64_t step) {
  const int axis = x.shape().normalize_axis(along, "slice");
  const int64_t n = x.shape()[axis];
  check(step >= 1, "slice", "step {}: want at least 1", step);
  const int64_t from = start < 0 ? start + n : start, to = stop == kEnd ? n : stop < 0 ? stop + n : stop;
  check(from >= 0 && from <= to && to <= n, "slice", "[{}, {}) is out of range on axis {}: shape {}", start, stop, axis,
        x.shape());
  const int64_t count = from == to ? 0 : (to - from - 1) / step + 1;
  const int64_t stride = x.strides()[axis] * std::min(step, std::max<int64_t>(n, 1));
  return Tensor(x.storage(), x.shape().with(axis, count), x.strides().with(axis, stride),
                x.offset() + from * x.strides()[axis], x.dtype());
}

Tensor expand(const Tensor& x, const Shape& shape) {
  check(broadcastable_to(x.shape(), shape), "expand", "{} does not broadcast to {}", x.shape(), shape);
  return Tensor(x.storage(), shape, broadcast_strides(x, shape), x.offset(), x.dtype());
}

}  // namespace view
}  // namespace norma
