// The three passes of ops/conv/conv2d.h with their roles changed: x is what a convolution would write and y what it
// would read, so forward is that convolution's backward_input.
#include "norma/ops/conv/conv_transpose2d.h"

#include "norma/autograd/op.h"
#include "norma/ops/conv/conv2d.h"
#include "norma/ops/reduce/reduce.h"

namespace norma {
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options) {
  Op op("conv_transpose2d");
  const ConvGeometry g = conv_transpose2d_geometry(op, x, weight, bias, options);
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
