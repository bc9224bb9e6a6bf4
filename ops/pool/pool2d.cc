#include "norma/ops/pool/pool2d.h"

#include "norma/autograd/op.h"

namespace norma {

PoolGeometry pool_geometry(const Op& op, const Tensor& x, const Pool2dOptions& options) {
  op.check_same({x});
  const Shape& in = x.shape();
  const Pair &k = options.kernel, s = options.stride.value_or(k), &d = options.dilation;
  op.check(in.rank() == 4 && in[1] > 0 && in[2] > 0, "wants [N, H, W, C] with pixels: shape {}", in);
  op.check(k.h >= 1 && k.w >= 1, "kernel {} is empty: input {}", shape_of(k), in);
  op.check(saturating(k.h, k.w, 0) <= int64_t{1} << 32, "kernel {} has more than 2^32 elements: input {}", shape_of(k),
           in);
  const Padding2d p = checked_padding(op, options.padding, k, s, d, in);
  PoolGeometry g = {
      in[0], in[1], in[2], in[3], 0, 0, k, s, p.before(), d, p.after(), options.count_include_pad, options.ceil_mode};
  g.oh = g.rows().outputs(g.h, p.bottom, options.ceil_mode);
  g.ow = g.columns().outputs(g.w, p.right, options.ceil_mode);
  op.check(g.oh > 0 && g.ow > 0, "kernel {} is larger than input {} padded by {}, {}", shape_of(k), in,
           shape_of(g.padding), shape_of(g.padding_after));
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

static Tensor average(const Op& op, const Tensor& x, const Pool2dOptions& options, bool flat) {
  const PoolGeometry g = pool_geometry(op, x, options);
  const Tensor y(flat ? Shape{g.n, g.c} : g.output_shape(), x.dtype(), x.device());
  kernel::avg_pool2d(g, x.contiguous(), y);
  return op.record({x}, y,
                   [g](const Tensor& dy, Sink& dx) { dx.write(0, kernel::avg_pool2d_backward, g, dy.contiguous()); });
}

Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& o) { return average(Op("avg_pool2d"), x, o, false); }

Tensor global_avg_pool(const Tensor& x) {
  const Op op("global_avg_pool");
  op.check(x.rank() == 4, "wants [N, H, W, C]: shape {}", x.shape());
  return average(op, x, {.kernel = {x.dim(1), x.dim(2)}}, true);
}

}  // namespace norma
