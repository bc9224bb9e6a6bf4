// Walks several strided arrays of one shape together, as rows along the last axis. Axes that can be merged for all of
// them are merged first, so contiguous operands become one long row. Every elementwise kernel begins with one: on the
// CPU core/simd/for_each.h takes it from there, on CUDA cuda/launch.h.
#pragma once

#include <concepts>
#include <tuple>

#include "norma/core/parallel.h"
#include "norma/core/tensor.h"

namespace norma {

template <size_t K>
class StridedLoop {
 public:
  // `strides[k]` has the rank of `shape`, with 0 where operand k is broadcast.
  StridedLoop(const Shape& shape, const std::array<Shape, K>& strides) {
    strides_.fill({0});
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (shape[axis] == 1) continue;
      bool merge = true;
      for (size_t k = 0; k < K; ++k) merge &= strides_[k].back() == strides[k][axis] * shape[axis];
      if (!merge && shape_.back() != 1) {  // an axis of its own
        shape_.push_back(1);
        for (Shape& s : strides_) s.push_back(0);
      }
      shape_.back() *= shape[axis];
      for (size_t k = 0; k < K; ++k) strides_[k].back() = strides[k][axis];
    }
    for (size_t k = 0; k < K; ++k) inner[k] = strides_[k].back();
  }

  std::array<int64_t, K> inner;  // strides within a row

  // After merging; at least one axis.
  const Shape& shape() const { return shape_; }
  const Shape& strides(size_t k) const { return strides_[k]; }

  // Of the element with a row-major index.
  std::array<int64_t, K> offsets(int64_t index) const {
    std::array<int64_t, K> result{};
    for (int axis = shape_.rank() - 1; axis >= 0; --axis) {
      const int64_t i = index % shape_[axis];
      index /= shape_[axis];
      for (size_t k = 0; k < K; ++k) result[k] += i * strides_[k][axis];
    }
    return result;
  }

  // Calls f(offsets, n) for rows, or parts of rows, that cover the index space; in parallel.
  void operator()(auto&& f) const {
    const int64_t length = shape_.back();
    parallel_for(shape_.numel(), 4096, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t n = std::min(end - begin, length - begin % length);
        f(offsets(begin), n);
        begin += n;
      }
    });
  }

 private:
  Shape shape_ = {1};
  std::array<Shape, K> strides_;
};

// The strides with which x is read when broadcast to `shape`.
inline Shape broadcast_strides(const Tensor& x, const Shape& shape) {
  Shape strides = shape;
  for (int axis = 0, own = x.rank() - shape.rank(); axis < shape.rank(); ++axis, ++own)
    strides[axis] = own < 0 || x.shape()[own] == 1 ? 0 : x.strides()[own];
  return strides;
}

// The loop over several tensors: its shape is that of the last, to which the others are broadcast.
template <std::same_as<Tensor>... X>
StridedLoop<sizeof...(X)> elements_of(const X&... x) {
  const Shape& shape = std::get<sizeof...(X) - 1>(std::tie(x...)).shape();
  return {shape, {broadcast_strides(x, shape)...}};
}

}  // namespace norma
