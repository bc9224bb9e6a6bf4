#include "norma/ops/shape/views.h"

#include <algorithm>
#include <numeric>

#include "norma/autograd/op.h"
#include "norma/core/backend.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/shape/index.h"

namespace norma {
// y has x's elements in another shape.
static Tensor reshaped(const Op& op, const Tensor& x, const Tensor& y) {
  return op.record({x}, y, [](const Tensor& dy, Sink& dx) { dx.give(0, view::reshape(dy, dx.shape(0))); });
}

static Tensor permuted(const Op& op, const Tensor& x, const Shape& axes) {
  const Tensor y = view::permute(x, axes);
  Shape back = axes;
  for (int i = 0; i < x.rank(); ++i) back[op.axis(x, axes[i])] = i;
  return op.record({x}, y, [back](const Tensor& dy, Sink& dx) { dx.give(0, view::permute(dy, back)); });
}

Tensor reshape(const Tensor& x, const Shape& shape) {
  const Op op("reshape");
  return reshaped(op, x, view::reshape(x, shape));
}

Tensor flatten(const Tensor& x) {
  const Op op("flatten");
  op.check(x.rank() >= 1, "wants at least one axis: shape {}", x.shape());
  const int64_t n = x.shape()[0];
  return reshaped(op, x, view::reshape(x, {n, n == 0 ? x.shape().without(0).numel() : -1}));
}

Tensor permute(const Tensor& x, const Shape& axes) { return permuted(Op("permute"), x, axes); }

Tensor transpose(const Tensor& x, int64_t i, int64_t j) {
  const Op op("transpose");
  Shape axes = x.shape();
  std::iota(&axes[0], &axes[0] + axes.rank(), 0);
  std::swap(axes[op.axis(x, i)], axes[op.axis(x, j)]);
  return permuted(op, x, axes);
}

Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step) {
  const Op op("slice");
  const int a = op.axis(x, axis);
  if (step < 0) {
    const int64_t n = x.shape()[a], from = start < 0 ? start + n : start;
    const int64_t before = stop == kEnd ? -1 : stop < 0 ? stop + n : stop;
    op.check(-1 <= before && before <= from && from < n, "no way back from {} to {} on axis {}: shape {}", start, stop,
             a, x.shape());
    return index_select(x, a, arange(from, before, step).to(x.device()));
  }
  return op.record({x}, view::slice(x, a, start, stop, step), [=](const Tensor& dy, Sink& dx) {
    const auto [grad, add] = dx.into(0);
    if (!add) grad.fill(0);
    backend(grad.device()).add_into(view::slice(grad, a, start, stop, step), dy);
  });
}

Tensor select(const Tensor& x, int64_t axis, int64_t i) {
  return squeeze(slice(x, axis, i, i == -1 ? kEnd : saturating(i, 1, 1)), axis);
}

Tensor Tensor::operator[](int64_t i) const { return select(*this, 0, i); }
Tensor Tensor::slice(int64_t axis, int64_t start, int64_t stop, int64_t step) const {
  return norma::slice(*this, axis, start, stop, step);
}

std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t axis) {
  const Op op("split");
  const int a = op.axis(x, axis);
  int64_t left = x.shape()[a];
  for (int64_t size : sizes) left = size < 0 || size > left ? -1 : left - size;
  op.check(left == 0, "sizes {} are not those of axis {}: shape {}", fmt::join(sizes, ", "), a, x.shape());
  std::vector<Tensor> parts;
  for (int64_t at = 0; int64_t size : sizes) parts.push_back(slice(x, a, at, at + size)), at += size;
  return parts;
}

std::vector<Tensor> chunk(const Tensor& x, int64_t n, int64_t axis) {
  const Op op("chunk");
  op.check(n >= 1, "in {}: want at least 1", n);
  const int64_t extent = x.dim(axis), size = std::max<int64_t>(extent / n + (extent % n != 0), 1);
  std::vector<int64_t> sizes(extent / size, size);
  if (extent % size != 0) sizes.push_back(extent % size);
  return split(x, sizes, axis);
}

Tensor tile(const Tensor& x, const Shape& repeats) {
  const Op op("tile");
  op.check(repeats.rank() == x.rank(), "repeats {} for shape {}", repeats, x.shape());
  Tensor y = reshape(x, x.shape());
  for (int a = 0; a < x.rank(); ++a) {
    const Tensor one = unsqueeze(y, a), many = expand(one, one.shape().with(a, repeats[a]));
    y = reshape(many, y.shape().with(a, repeats[a] * y.shape()[a]));
  }
  return y;
}

Tensor expand(const Tensor& x, const Shape& shape) {
  const Op op("expand");
  return op.record({x}, view::expand(x, shape),
                   [](const Tensor& dy, Sink& dx) { dx.give(0, sum_to(dy, dx.shape(0))); });
}

Tensor squeeze(const Tensor& x, int64_t axis) {
  const Op op("squeeze");
  const int a = op.axis(x, axis);
  op.check(x.shape()[a] == 1, "axis {} has extent {}, want 1: shape {}", axis, x.shape()[a], x.shape());
  return reshaped(op, x, Tensor(x.storage(), x.shape().without(a), x.strides().without(a), x.offset(), x.dtype()));
}

Tensor unsqueeze(const Tensor& x, int64_t axis) {
  const Op op("unsqueeze");
  op.check(axis >= -x.rank() - 1 && axis <= x.rank(), "axis {} is out of range for shape {}", axis, x.shape());
  const int a = static_cast<int>(axis < 0 ? axis + x.rank() + 1 : axis);
  Shape shape = 1, axes;  // with the new one first, and then from there to its place
  for (int64_t extent : x.shape()) shape.push_back(extent);
  for (int i = 0; i <= x.rank(); ++i) axes.push_back(i < a ? i + 1 : i == a ? 0 : i);
  return reshaped(op, x, view::permute(view::expand(x, shape), axes));
}

}  // namespace norma
