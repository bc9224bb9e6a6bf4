#include "norma/ops/shape/index.h"

#include <algorithm>

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/shape/views.h"

namespace norma {
// [outer, n, inner]: the axes before `axis`, it, and those after it.
static Tensor in_three(const Tensor& x, int axis) {
  Shape three = {1, x.shape()[axis], 1};
  for (int i = 0; i < x.rank(); ++i)
    if (i != axis) three[i < axis ? 0 : 2] *= x.shape()[i];
  return view::reshape(x, three);
}

static Tensor pick(const Op& op, const Tensor& x, int axis, const Tensor& index, const Shape& shape) {
  op.check(index.device() == x.device(), "the index is on {}, the tensor on {}", index.device(), x.device());
  const Tensor all = index.contiguous(), y(shape, x.dtype(), x.device()), to = in_three(y, axis);
  kernel::check_index(op.name(), all, -x.shape()[axis], x.shape()[axis]);
  const Tensor picks = all.shape() == shape ? in_three(all, axis) : view::reshape(all, {1, -1, 1});
  kernel::gather(in_three(x, axis), view::expand(picks, to.shape()), to);
  return op.record({x}, y, [axis, picks = op.save(picks)](const Tensor& dy, Sink& dx) {
    const auto [grad, add] = dx.into(0);
    if (!add) grad.fill(0);
    const Tensor from = in_three(dy, axis);
    kernel::gather_backward(from, view::expand(picks, from.shape()), in_three(grad, axis));
  });
}

Tensor gather(const Tensor& x, int64_t axis, const Tensor& index) {
  const Op op("gather");
  const int a = op.axis(x, axis);
  op.check(index.dtype() == i64, "the index is {}, want i64: shape {}", index.dtype(), index.shape());
  op.check(index.rank() == x.rank() && index.shape().with(a, 0) == x.shape().with(a, 0),
           "the index {} differs from {} in another axis than {}", index.shape(), x.shape(), a);
  return pick(op, x, a, index, index.shape());
}

Tensor index_select(const Tensor& x, int64_t axis, const Tensor& index) {
  const Op op("index_select");
  const int a = op.axis(x, axis);
  op.check(index.dtype() == i64 && index.rank() == 1, "the index is {} of shape {}, want i64 [m]", index.dtype(),
           index.shape());
  return pick(op, x, a, index, x.shape().with(a, index.numel()));
}

Tensor scatter_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& source) {
  const Op op("scatter_add");
  const int a = op.axis(x, axis);
  op.check_same({x, source}, false);
  op.check(x.dtype() != boolean && index.dtype() == i64 && index.device() == x.device() &&
               index.shape() == source.shape() && index.rank() == x.rank() &&
               index.shape().with(a, 0) == x.shape().with(a, 0),
           "an index {} ({}, {}) does not lead from {} to {} ({}, {})", index.shape(), index.dtype(), index.device(),
           source.shape(), x.shape(), x.dtype(), x.device());
  const Tensor picks = index.contiguous(), y = x.clone();
  kernel::check_index(op.name(), picks, -x.shape()[a], x.shape()[a]);
  kernel::gather_backward(in_three(source, a), in_three(picks, a), in_three(y, a));
  return op.record({x, source}, y, [a, saved = op.save_for(source, picks)](const Tensor& dy, Sink& dx) {
    dx.give(0, dy);
    if (dx.wants(1)) dx.give(1, gather(dy, a, saved));
  });
}

Tensor one_hot(const Tensor& index, int64_t classes, DType dtype) {
  const Op op("one_hot");
  op.check(index.dtype() == i64, "the index is {}, want i64: shape {}", index.dtype(), index.shape());
  op.check(classes >= 0, "{} classes", classes);
  const Tensor picks = index.contiguous();
  kernel::check_index(op.name(), picks, 0, classes);
  return eq(unsqueeze(picks, -1), arange(classes).to(index.device())).to(dtype);
}

namespace cpu {

void check_index(const char* op, const Tensor& index, int64_t low, int64_t n) {
  const int64_t* picks = index.data<int64_t>();
  parallel_each(index.numel(), 1 << 15, [&](int64_t i) {
    if (picks[i] < low || picks[i] >= n)
      fail(op, "index {} at {} is outside of [{}, {})", picks[i], index.shape().index_of(i), low, n);
  });
}

void gather(const Tensor& x, const Tensor& index, const Tensor& y) {
  const int64_t n = x.shape()[1], m = y.shape()[1], inner = y.shape()[2];
  const Shape steps = index.strides();
  const int64_t* picks = index.strided_data<int64_t>();
  dispatch(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    // The grain is large, so that a loader that gathers a batch leaves the thread pool to the network.
    parallel_each(y.shape()[0] * m, std::max<int64_t>(1, (1 << 18) / std::max<int64_t>(inner, 1)), [&](int64_t row) {
      const int64_t* pick = picks + row / m * steps[0] + row % m * steps[1];
      const T* from = in + row / m * n * inner;
      T* to = out + row * inner;
      if (steps[2] == 0 && inner > 1) std::copy_n(from + entry_of(*pick, n) * inner, inner, to);
      else
        for (int64_t k = 0; k < inner; ++k) to[k] = from[entry_of(pick[k * steps[2]], n) * inner + k];
    });
  });
}

// Columns (o, k) are independent: each thread adds up its own, in the order of the index.
void gather_backward(const Tensor& dy, const Tensor& index, const Tensor& dx) {
  const int64_t n = dx.shape()[1], m = dy.shape()[1], inner = dy.shape()[2];
  const Shape steps = index.strides();
  const int64_t* picks = index.strided_data<int64_t>();
  dispatch(dy.dtype(), [&]<class T>() {
    const T* from = dy.data<T>();
    T* to = dx.mutable_data<T>();
    parallel_for(dy.shape()[0] * inner, std::max<int64_t>(16, 8192 / std::max<int64_t>(m, 1)),
                 [&](int64_t begin, int64_t end) {
                   while (begin < end) {
                     const int64_t o = begin / inner, first = begin % inner;
                     const int64_t last = std::min(inner, first + end - begin);
                     for (int64_t i = 0; i < m; ++i) {
                       const int64_t* pick = picks + o * steps[0] + i * steps[1];
                       const T* row = from + (o * m + i) * inner;
                       for (int64_t k = first; k < last; ++k)
                         to[(o * n + entry_of(pick[k * steps[2]], n)) * inner + k] += row[k];
                     }
                     begin += last - first;
                   }
                 });
  });
}

}  // namespace cpu
}  // namespace norma
