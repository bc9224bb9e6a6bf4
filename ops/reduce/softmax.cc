#include "norma/ops/reduce/softmax.h"

#include "norma/autograd/op.h"

namespace norma {
namespace {

// The order of the axes that exchanges `axis` and the last; its own inverse.
Shape exchange(int rank, int axis) {
  Shape order;
  for (int i = 0; i < rank; ++i) order.push_back(i == axis ? rank - 1 : i == rank - 1 ? axis : i);
  return order;
}

Tensor apply(const char* name, bool log, const Tensor& x, int64_t along) {
  const Op op(name, {x});
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

}  // namespace norma
