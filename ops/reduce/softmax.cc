#include "norma/ops/reduce/softmax.h"

#include "norma/autograd/op.h"
#include "norma/ops/shape/views.h"

namespace norma {

static Tensor apply(const char* name, bool log, const Tensor& x, int64_t along) {
  const Op op(name, {x});
  const int axis = op.axis(x, along);
  const Tensor in = transpose(x.detach(), axis, -1).contiguous(), out = empty_like(in);
  if (x.numel() > 0) kernel::softmax(log, in, out);
  // `out`, whose rows the gradient reads, has the axis last; y is as x was.
  const Tensor y = transpose(out, axis, -1).contiguous();
  return op.record({x}, y, [log, axis, out = op.save(out)](const Tensor& upstream, Sink& dx) {
    const Tensor dy = transpose(upstream, axis, -1).contiguous();
    const bool last = axis == dy.rank() - 1;
    const auto [grad, add] = last ? dx.into(0) : Sink::Target{empty_like(out), false};
    if (grad.numel() > 0) kernel::softmax_backward(log, dy, out, grad, add);
    if (!last) dx.give(0, transpose(grad, axis, -1));
  });
}

Tensor softmax(const Tensor& x, int64_t axis) { return apply("softmax", false, x, axis); }
Tensor log_softmax(const Tensor& x, int64_t axis) { return apply("log_softmax", true, x, axis); }

}  // namespace norma
