#include "norma/ops/shape/concat.h"

#include <numeric>

#include "norma/autograd/op.h"
#include "norma/ops/shape/index.h"
#include "norma/ops/shape/views.h"

namespace norma {

Tensor concat(const std::vector<Tensor>& tensors, int64_t axis) {
  const Op op("concat");
  op.check(!tensors.empty(), "wants at least one tensor");
  const Tensor& first = tensors[0];
  const int a = op.axis(first, axis);
  std::vector<int64_t> sizes;
  for (const Tensor& x : tensors) {
    op.check(x.rank() == first.rank() && x.shape().with(a, 0) == first.shape().with(a, 0),
             "shapes {} and {} differ in another axis than {}", first.shape(), x.shape(), a);
    op.check_same({first, x}, false);
    sizes.push_back(x.shape()[a]);
  }
  const Tensor y(first.shape().with(a, std::reduce(sizes.begin(), sizes.end())), first.dtype(), first.device());
  const std::vector<Tensor> parts = split(y, sizes, a);
  for (size_t i = 0; i < parts.size(); ++i) parts[i].copy_from(tensors[i]);
  op.record_all(tensors, {&y, 1}, [a, sizes](std::span<const Tensor> dy, Sink& dx) {
    const std::vector<Tensor> gradients = split(dy[0], sizes, a);
    for (size_t i = 0; i < gradients.size(); ++i) dx.give(i, gradients[i]);
  });
  return y;
}

Tensor stack(const std::vector<Tensor>& tensors, int64_t axis) {
  const Op op("stack");
  std::vector<Tensor> entries;
  for (const Tensor& x : tensors) entries.push_back(unsqueeze(x, axis));
  return concat(entries, axis);
}

Tensor roll(const Tensor& x, int64_t shift, int64_t axis) {
  const Op op("roll");
  const int a = op.axis(x, axis);
  const int64_t n = x.shape()[a], stay = n == 0 ? 0 : n - (shift % n + n) % n;
  return concat({slice(x, a, stay), slice(x, a, 0, stay)}, a);
}

Tensor pad(const Tensor& x, const std::vector<std::pair<int64_t, int64_t>>& pads, double value) {
  const Op op("pad");
  op.check(static_cast<int>(pads.size()) == x.rank(), "{} pairs of pads for shape {}", pads.size(), x.shape());
  Shape before = x.shape(), shape = x.shape();
  for (int i = 0; i < x.rank(); ++i) {
    const auto [low, high] = pads[i];
    op.check(low >= 0 && high >= 0, "pads {} and {} of axis {}: want none below 0: shape {}", low, high, i, x.shape());
    before[i] = low;
    shape[i] = saturating(low, 1, saturating(high, 1, shape[i]));
  }
  const auto inside = [before, extents = x.shape()](Tensor y) {
    for (int i = 0; i < y.rank(); ++i) y = view::slice(y, i, before[i], before[i] + extents[i]);
    return y;
  };
  const Tensor y = full(shape, value, x.dtype(), x.device());
  inside(y).copy_from(x);
  return op.record({x}, y, [inside](const Tensor& dy, Sink& dx) { dx.give(0, inside(dy)); });
}

Tensor pad(const Tensor& x, const std::vector<std::pair<int64_t, int64_t>>& pads, PadMode mode) {
  const Op op("pad");
  Tensor y = x;
  for (int axis = 0; mode != PadMode::zeros && axis < x.rank() && axis < std::ssize(pads); ++axis) {
    const auto [low, high] = pads[axis];
    const int64_t n = x.shape()[axis], last = n - 1;
    const int64_t most = mode == PadMode::reflect ? last : mode == PadMode::circular || n == 0 ? n : kMaxStep;
    if (low == 0 && high == 0) continue;
    op.check(std::min(low, high) >= 0 && std::max(low, high) <= most,
             "pads {} and {} of axis {}: want 0 to {} here: shape {}", low, high, axis, most, x.shape());
    const Tensor source({low + n + high}, i64);
    int64_t* to = source.mutable_data<int64_t>();
    for (int64_t at = -low; at < n + high; ++at)
      *to++ = mode == PadMode::reflect     ? last - std::abs(last - std::abs(at))
              : mode == PadMode::replicate ? std::clamp<int64_t>(at, 0, last)
                                           : (at + n) % n;
    y = index_select(y, axis, source.to(x.device()));
  }
  return y.identity() == x.identity() || std::ssize(pads) != x.rank() ? pad(x, pads) : y;
}

}  // namespace norma
