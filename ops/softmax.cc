#include "norma/ops/softmax.h"

#include <algorithm>
#include <cmath>

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"

namespace norma {
namespace {

// The order of the axes that exchanges `axis` and the last; its own inverse.
Shape exchange(int rank, int axis) {
  Shape order;
  for (int i = 0; i < rank; ++i) order.push_back(i == axis ? rank - 1 : i == rank - 1 ? axis : i);
  return order;
}

Tensor apply(const char* name, bool log, const Tensor& x, int64_t along) {
  Op op(name);
  op.check_same({x});
  const int axis = op.axis(x, along);
  const Shape order = exchange(x.rank(), axis);
  const Tensor in = view::permute(x, order).contiguous(), out = empty_like(in);
  if (x.numel() > 0) kernel::softmax(log, in, out);
  // `out`, whose rows the gradient reads, has the axis last; y is as x was.
  const bool last = axis == x.rank() - 1;
  const Tensor y = last ? out : view::permute(out, order).contiguous();
  return op.record({x}, y, [log, last, order, out = op.save(out)](const Tensor& upstream, Sink& dx) {
    const Tensor dy = view::permute(upstream, order).contiguous();
    const auto [grad, add] = last ? dx.into(0) : Sink::Target{empty_like(*out), false};
    if (grad.numel() > 0) kernel::softmax_backward(log, dy, out, grad, add);
    if (!last) dx.give(0, view::permute(grad, order));
  });
}

}  // namespace

Tensor softmax(const Tensor& x, int64_t axis) { return apply("softmax", false, x, axis); }
Tensor log_softmax(const Tensor& x, int64_t axis) { return apply("log_softmax", true, x, axis); }

namespace cpu {

void softmax(bool log, const Tensor& x, const Tensor& y) {
  dispatch_floating("softmax", x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    const int64_t n = x.dim(-1);
    parallel_for(x.numel() / n, 1 + 1024 / n, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* in = from + row * n;
        T* out = to + row * n;
        const T top = *std::max_element(in, in + n);
        double sum = 0;
        for (int64_t i = 0; i < n; ++i) {
          const T term = std::exp(in[i] - top);
          sum += term;
          if (!log) out[i] = term;
        }
        const T shift = static_cast<T>(std::log(sum)), scale = static_cast<T>(1 / sum);
        for (int64_t i = 0; i < n; ++i) out[i] = log ? in[i] - top - shift : out[i] * scale;
      }
    });
  });
}

void softmax_backward(bool log, const Tensor& dy, const Tensor& y, const Tensor& dx, bool add) {
  dispatch_floating("softmax", dy.dtype(), [&]<class T>() {
    const T *d = dy.data<T>(), *s = y.data<T>();
    T* to = dx.mutable_data<T>();
    const int64_t n = y.dim(-1);
    parallel_for(y.numel() / n, 1 + 1024 / n, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T *from_d = d + row * n, *from_s = s + row * n;
        T* out = to + row * n;
        double sum = 0;
        for (int64_t i = 0; i < n; ++i) sum += log ? from_d[i] : double{from_d[i]} * from_s[i];
        const T total = static_cast<T>(sum);
        for (int64_t i = 0; i < n; ++i) {
          const T value = log ? from_d[i] - std::exp(from_s[i]) * total : from_s[i] * (from_d[i] - total);
          out[i] = add ? out[i] + value : value;
        }
      }
    });
  });
}

}  // namespace cpu
}  // namespace norma
