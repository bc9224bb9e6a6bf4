#include "norma/core/shape.h"

#include <algorithm>
#include <ostream>

namespace norma {

Shape::Shape(std::span<const int64_t> dims) {
  for (int64_t extent : dims) push_back(extent);
}

int64_t Shape::numel() const {
  int64_t n = 1;
  for (int64_t extent : *this)
    check(!__builtin_mul_overflow(n, extent, &n), "shape", "{} has more elements than can be counted", *this);
  return n;
}

int Shape::normalize_axis(int64_t axis, std::string_view op) const {
  check(axis >= -rank_ && axis < rank_, op, "axis {} is out of range for shape {}", axis, *this);
  return static_cast<int>(axis < 0 ? axis + rank_ : axis);
}

void Shape::push_back(int64_t extent) {
  check(rank_ < kMaxRank, "shape", "rank {} is above the limit of {}", rank_ + 1, int{kMaxRank});
  dims_[rank_++] = extent;
}

Shape Shape::without(int axis) const {
  Shape result;
  for (int i = 0; i < rank_; ++i)
    if (i != axis) result.push_back(dims_[i]);
  return result;
}

Shape Shape::with(int axis, int64_t extent) const {
  Shape result = *this;
  result[normalize_axis(axis, "shape")] = extent;
  return result;
}

Shape Shape::index_of(int64_t place) const {
  check(place >= 0 && place < numel(), "shape", "there is no element {} of {}", place, *this);
  Shape index = *this;
  for (int i = rank_ - 1; i >= 0; --i) {
    index[i] = place % dims_[i];
    place /= dims_[i];
  }
  return index;
}

std::string Shape::str() const { return fmt::format("[{}]", fmt::join(begin(), end(), ", ")); }
std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.str(); }

Shape contiguous_strides(const Shape& shape) {
  Shape strides = shape;
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    step = saturating(step, shape[i], 0);
  }
  return strides;
}

Shape broadcast_shapes(std::string_view op, const Shape& a, const Shape& b) {
  Shape result = a.rank() >= b.rank() ? a : b;
  for (int i = 1; i <= std::min(a.rank(), b.rank()); ++i) {
    const int64_t x = a[a.rank() - i], y = b[b.rank() - i];
    check(x == y || x == 1 || y == 1, op, "shapes {} and {} do not broadcast: {} against {}", a, b, x, y);
    result[result.rank() - i] = x == 1 ? y : x;
  }
  return result;
}

bool broadcastable_to(const Shape& from, const Shape& to) {
  return from.rank() <= to.rank() && std::equal(from.begin(), from.end(), to.end() - from.rank(),
                                                [](int64_t x, int64_t y) { return x == 1 || x == y; });
}

}  // namespace norma
