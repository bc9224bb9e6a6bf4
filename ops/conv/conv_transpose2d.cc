// The three passes of ops/conv/conv2d.h with their roles changed: x is what a convolution would write and y what it
// would read, so forward is that convolution's backward_input.
#include "norma/ops/conv/conv_transpose2d.h"

#include "norma/autograd/op.h"
#include "norma/ops/conv/conv2d.h"
#include "norma/ops/reduce/reduce.h"

namespace norma {
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const ConvTranspose2dOptions& o) {
  Op op("conv_transpose2d");
  const Conv2dOptions of_conv2d = {
      .stride = o.stride, .padding = o.padding, .dilation = o.dilation, .groups = o.groups};
  ConvGeometry g = check_convolution(op, x, weight, bias, of_conv2d, true);
  const Pair extra = o.output_padding;
  op.check(extra.h >= 0 && extra.w >= 0 && extra.h < std::max(o.stride.h, o.dilation.h) &&
               extra.w < std::max(o.stride.w, o.dilation.w),
           "output_padding {}: wants less than stride or dilation: input {}, weight {}", shape_of(extra), x.shape(),
           weight.shape());
  g.oh = x.dim(1), g.ow = x.dim(2);
  g.h = g.rows().inputs(g.oh) + extra.h, g.w = g.columns().inputs(g.ow) + extra.w;
  op.check(g.oh > 0 && g.ow > 0 && g.h > 0 && g.w > 0, "the output has no pixels ({} x {}): input {}, weight {}", g.h,
           g.w, x.shape(), weight.shape());
  op.check(std::max(g.h, g.w) < int64_t{1} << 46,
           "stride {} and dilation {} make too large an output: input {}, weight {}", shape_of(o.stride),
           shape_of(o.dilation), x.shape(), weight.shape());
  const Tensor in = x.contiguous(), w = weight.contiguous();
  Tensor y({g.n, g.h, g.w, g.c}, x.dtype(), x.device());
  if (bias.defined()) y.copy_from(view::expand(bias, y.shape()));
  kernel::conv2d_backward_input(g, in, w, y, bias.defined());
  return op.record({x, weight, bias}, y,
                   [g, in = op.save_for(weight, in), w = op.save_for(x, w)](const Tensor& upstream, Sink& dx) {
                     const Tensor dy = upstream.contiguous();
                     if (dx.wants(0)) {
                       const Tensor grad(dx.shape(0), dy.dtype(), dy.device());
                       kernel::conv2d_forward(g, dy, w, {}, grad);
                       dx.give(0, grad);
                     }
                     dx.write(1, kernel::conv2d_backward_weight, g, dy, in);
                     if (dx.wants(2)) dx.give(2, sum(dy, {0, 1, 2}));
                   });
}

}  // namespace norma
