#include "norma/ops/reduce/softmax.h"

#include "norma/autograd/op.h"
#include "norma/ops/shape/views.h"

namespace norma {

static Tensor apply(const char* name, bool log, const Tensor& x, int64_t axis) {
  const Op op(name, {x});
  const int along = op.axis(x, axis), last = x.rank() - 1;
  if (along != last) return transpose(apply(name, log, transpose(x, along, last), last), along, last);
  const Tensor in = x.contiguous(), y = empty_like(in);
  if (x.numel() > 0) kernel::softmax(log, in, y);
  return op.record({x}, y, [log, y = op.save(y)](const Tensor& dy, Sink& dx) {
    if (dy.numel() == 0) return dx.give(0, dy);
    dx.write(0, kernel::softmax_backward, log, dy.contiguous(), y);
  });
}

Tensor softmax(const Tensor& x, int64_t axis) { return apply("softmax", false, x, axis); }
Tensor log_softmax(const Tensor& x, int64_t axis) { return apply("log_softmax", true, x, axis); }

}  // namespace norma
