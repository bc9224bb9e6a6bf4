// Shape: the extents of a tensor's axes, kept in place (no heap), at most eight of them. Also used for strides.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>

#include "norma/core/error.h"

namespace norma {

class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);
  // One extent, or one axis where axes are wanted: zeros(3), sum(x, 1). Not of a truth value: in sum(x, true) the axes
  // are missing.
  template <std::integral Extent>
  requires(!std::same_as<Extent, bool>) Shape(Extent extent) : Shape({static_cast<int64_t>(extent)}) {}

  int rank() const { return rank_; }
  int64_t numel() const;  // product of the extents; 1 for rank 0; an error if that is no int64_t
  int64_t operator[](int axis) const { return dims_[axis]; }
  int64_t& operator[](int axis) { return dims_[axis]; }
  int64_t back() const { return dims_[rank_ - 1]; }
  int64_t& back() { return dims_[rank_ - 1]; }
  int64_t dim(int64_t axis) const { return dims_[normalize_axis(axis, "shape")]; }  // axis may be negative
  int normalize_axis(int64_t axis, std::string_view op) const;                      // -1 is the last; checked

  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  void push_back(int64_t extent);
  Shape without(int axis) const;
  Shape with(int axis, int64_t extent) const;
  Shape index_of(int64_t place) const;  // that of an element, from its row-major number

  bool operator==(const Shape&) const = default;
  std::string str() const;  // "[128, 28, 28, 1]"
  friend std::ostream& operator<<(std::ostream& out, const Shape& shape);

 private:
  std::array<int64_t, kMaxRank> dims_{};  // 0 from rank_ on
  int rank_ = 0;
};

// The largest that a stride, a padding, a dilation or a scale may be: sums and products of two of them, and of one and
// the extent of a tensor in memory, are then no overflow.
inline constexpr int64_t kMaxStep = (int64_t{1} << 31) - 1;

// n * factor + more or, where that overflows, the largest int64_t, which no tensor has room for. Of sizes: not where it
// would be far below 0.
constexpr int64_t saturating(int64_t n, int64_t factor, int64_t more) {
  const bool overflows = __builtin_mul_overflow(n, factor, &n) || __builtin_add_overflow(n, more, &n);
  return overflows ? INT64_MAX : n;
}

// The end of an axis, where a slice wants to know where to stop: behind the last entry or, for a negative step, before
// the first.
inline constexpr int64_t kEnd = INT64_MAX;

// Height and width of a kernel, a stride, a padding: one number stands for both.
struct Pair {
  int64_t h, w;
  Pair(int64_t both) : h(both), w(both) {}
  Pair(int64_t height, int64_t width) : h(height), w(width) {}
  bool operator==(const Pair&) const = default;
};

Shape contiguous_strides(const Shape& shape);  // row-major; as far as they can be counted

// The shape two operands broadcast to (numpy's rule: axes aligned at the end, extents equal or 1).
Shape broadcast_shapes(std::string_view op, const Shape& a, const Shape& b);
bool broadcastable_to(const Shape& from, const Shape& to);

}  // namespace norma

template <>
struct fmt::formatter<norma::Shape> : norma::Formatter<&norma::Shape::str> {};
