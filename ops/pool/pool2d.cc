#include "norma/ops/pool/pool2d.h"

#include "norma/autograd/op.h"

namespace norma {

PoolGeometry pool_geometry(const Op& op, const Tensor& x, const Pool2dOptions& options) {
  op.check_same({x});
  const Shape& in = x.shape();
  const Pair &k = options.kernel, s = options.stride.value_or(k), &p = options.padding;
  op.check(in.rank() == 4 && in[1] > 0 && in[2] > 0, "wants [N, H, W, C] with pixels: shape {}", in);
  op.check(k.h >= 1 && k.w >= 1, "kernel {} is empty: input {}", shape_of(k), in);
  op.check(saturating(k.h, k.w, 0) <= int64_t{1} << 32, "kernel {} has more than 2^32 elements: input {}", shape_of(k),
           in);
  op.check(s.h >= 1 && s.w >= 1, "stride {}: wants at least 1: input {}", shape_of(s), in);
  op.check(p.h >= 0 && p.w >= 0 && p.h <= k.h / 2 && p.w <= k.w / 2,
           "padding {}: wants 0 to half of kernel {}: input {}", shape_of(p), shape_of(k), in);
  op.check(in_steps(s) && in_steps(p), "stride {}, padding {}: want at most {}: input {}", shape_of(s), shape_of(p),
           kMaxStep, in);
  PoolGeometry g = {in[0], in[1], in[2], in[3], 0, 0, k, s, p};
  g.oh = g.rows().outputs(g.h), g.ow = g.columns().outputs(g.w);
  op.check(g.oh > 0 && g.ow > 0, "kernel {} is larger than input {} padded by {}", shape_of(k), in, shape_of(p));
  return g;
}

Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  Op op("max_pool2d");
  const PoolGeometry g = pool_geometry(op, x, options);
  Tensor y(g.output_shape(), x.dtype(), x.device()), arg;
  if (Op::records({x})) arg = Tensor(y.shape(), g.kernel.h * g.kernel.w <= 256 ? u8 : i64, x.device());
  kernel::max_pool2d(g, x.contiguous(), y, arg);
  return op.record({x}, y, [g, arg = op.save(arg)](const Tensor& dy, Sink& dx) {
    dx.write(0, kernel::max_pool2d_backward, g, dy.contiguous(), arg);
  });
}

static Tensor average(const Op& op, const Tensor& x, const Pool2dOptions& options, PoolDivisor divisor, bool flat) {
  const PoolGeometry g = pool_geometry(op, x, options);
  const Tensor y(flat ? Shape{g.n, g.c} : g.output_shape(), x.dtype(), x.device());
  kernel::avg_pool2d(g, divisor, x.contiguous(), y, false);
  return op.record({x}, y, [g, divisor](const Tensor& dy, Sink& dx) {
    dx.write(0, kernel::avg_pool2d_backward, g, divisor, dy.contiguous());
  });
}

Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options, bool count_include_pad) {
  return average(Op("avg_pool2d"), x, options, count_include_pad ? PoolDivisor::size : PoolDivisor::inputs, false);
}

Tensor global_avg_pool(const Tensor& x) {
  const Op op("global_avg_pool");
  op.check(x.rank() == 4, "wants [N, H, W, C]: shape {}", x.shape());
  return average(op, x, {.kernel = {x.dim(1), x.dim(2)}}, PoolDivisor::size, true);
}

}  // namespace norma
