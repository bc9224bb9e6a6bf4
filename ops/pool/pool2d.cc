#include "norma/ops/pool/pool2d.h"

#include "norma/autograd/op.h"

namespace norma {

PoolGeometry::PoolGeometry(const Op& op, const Tensor& x, const Pool2dOptions& options)
    : kernel(options.kernel), stride(options.stride.value_or(options.kernel)), padding(options.padding) {
  op.check_same({x});
  op.check(x.rank() == 4 && x.dim(1) > 0 && x.dim(2) > 0, "wants [N, H, W, C] with pixels: shape {}", x.shape());
  const auto &k = kernel, &s = stride, &p = padding;
  op.check(k.h >= 1 && k.w >= 1, "kernel {} is empty: input {}", shape_of(k), x.shape());
  op.check(s.h >= 1 && s.w >= 1, "stride {}: wants at least 1: input {}", shape_of(s), x.shape());
  op.check(p.h >= 0 && p.w >= 0 && p.h <= k.h / 2 && p.w <= k.w / 2,
           "padding {}: wants 0 to half of kernel {}: input {}", shape_of(p), shape_of(k), x.shape());
  n = x.dim(0), h = x.dim(1), w = x.dim(2), c = x.dim(3);
  oh = rows().outputs(h), ow = columns().outputs(w);
  op.check(oh > 0 && ow > 0, "kernel {} is larger than input {} padded by {}", shape_of(k), x.shape(), shape_of(p));
}

Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  Op op("max_pool2d");
  const PoolGeometry g(op, x, options);
  Tensor y(g.output_shape(), x.dtype(), x.device()), arg;
  if (Op::records({x})) arg = Tensor(y.shape(), g.kernel.h * g.kernel.w <= 256 ? u8 : i64, x.device());
  kernel::max_pool2d(g, x.contiguous(), y, arg);
  return op.record({x}, y, [g, arg = op.save(arg)](const Tensor& dy, Sink& dx) {
    dx.write(0, kernel::max_pool2d_backward, g, dy.contiguous(), arg);
  });
}

static Tensor average(const Op& op, const Tensor& x, const Pool2dOptions& options, bool count_include_pad, bool flat) {
  const PoolGeometry g(op, x, options);
  const Tensor y(flat ? Shape{g.n, g.c} : g.output_shape(), x.dtype(), x.device());
  kernel::avg_pool2d(g, count_include_pad, x.contiguous(), y);
  return op.record({x}, y, [g, count_include_pad](const Tensor& dy, Sink& dx) {
    dx.write(0, kernel::avg_pool2d_backward, g, count_include_pad, dy.contiguous());
  });
}

Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options, bool count_include_pad) {
  return average(Op("avg_pool2d"), x, options, count_include_pad, false);
}

Tensor global_avg_pool(const Tensor& x) {
  const Op op("global_avg_pool");
  op.check(x.rank() == 4, "wants [N, H, W, C]: shape {}", x.shape());
  return average(op, x, {.kernel = {x.dim(1), x.dim(2)}}, false, true);
}

}  // namespace norma
