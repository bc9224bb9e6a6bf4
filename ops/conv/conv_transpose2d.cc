// The three functions of the seam in ops/conv/conv2d.h with their roles changed: here the convolution's output is x,
// and its input is y.
#include "norma/ops/conv/conv_transpose2d.h"

#include "norma/autograd/op.h"
#include "norma/ops/conv/conv2d.h"
#include "norma/ops/reduce/reduce.h"

namespace norma {
namespace {

ConvGeometry geometry_of(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const ConvTranspose2dOptions& o) {
  check_convolution(op, x, weight, bias, o.stride, o.padding, o.dilation, o.groups);
  const Shape &in = x.shape(), &w = weight.shape();
  op.check(in[3] == w[0], "input has {} channels, weight {} wants {}: input {}", in[3], w, w[0], in);
  op.check(in[3] % o.groups == 0, "groups {} do not divide the {} input channels: input {}, weight {}", o.groups, in[3],
           in, w);
  const int64_t channels = w[3] * o.groups;
  op.check(!bias.defined() || bias.shape() == Shape{channels}, "bias is {}, weight {} wants [{}]: input {}",
           bias.defined() ? bias.shape() : Shape{}, w, channels, in);
  const Pair extra = o.output_padding;
  op.check(extra.h >= 0 && extra.w >= 0 && extra.h < std::max(o.stride.h, o.dilation.h) &&
               extra.w < std::max(o.stride.w, o.dilation.w),
           "output_padding [{}, {}]: wants less than stride or dilation: input {}, weight {}", extra.h, extra.w, in, w);
  const int64_t h = (in[1] - 1) * o.stride.h - 2 * o.padding.h + o.dilation.h * (w[1] - 1) + extra.h + 1;
  const int64_t wide = (in[2] - 1) * o.stride.w - 2 * o.padding.w + o.dilation.w * (w[2] - 1) + extra.w + 1;
  op.check(in[1] > 0 && in[2] > 0 && h > 0 && wide > 0, "the output has no pixels ({} x {}): input {}, weight {}", h,
           wide, in, w);
  return {in[0], h, wide, channels, in[1], in[2], w[0], w[1], w[2], o.stride, o.padding, o.dilation, o.groups};
}

}  // namespace

Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options) {
  Op op("conv_transpose2d");
  const ConvGeometry g = geometry_of(op, x, weight, bias, options);
  const Tensor in = x.contiguous(), w = weight.contiguous();
  Tensor y({g.n, g.h, g.w, g.c}, x.dtype(), x.device());
  if (bias.defined()) y.copy_from(view::expand(bias, y.shape()));
  kernel::conv2d_data(g, in, w, y, bias.defined());
  return op.record({x, weight, bias}, y,
                   [g, in = op.save(Op::records({weight}) ? in : Tensor()),
                    w = op.save(Op::records({x}) ? w : Tensor())](const Tensor& upstream, Sink& dx) {
                     const Tensor dy = upstream.contiguous();
                     if (dx.wants(0)) {
                       const Tensor grad(dx.shape(0), dy.dtype(), dy.device());
                       kernel::conv2d_forward(g, dy, w, {}, grad);
                       dx.give(0, grad);
                     }
                     if (dx.wants(1)) {
                       const auto [grad, add] = dx.into(1);
                       kernel::conv2d_weights(g, dy, in, grad, add);
                     }
                     if (dx.wants(2)) dx.give(2, sum(dy, {0, 1, 2}));
                   });
}

}  // namespace norma
