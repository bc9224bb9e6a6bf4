#include "norma/ops/conv/geometry.h"

#include "norma/autograd/op.h"
#include "norma/ops/conv/conv2d.h"
#include "norma/ops/conv/kernels.h"

namespace norma {
ConvGeometry check_convolution(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                               const Conv2dOptions& o, bool transposed) {
  const Shape &in = x.shape(), &w = weight.shape();
  op.check_same({x, weight, bias});
  op.check(in.rank() == 4, "wants input [N, H, W, C]: input {}, weight {}", in, w);
  op.check(w.rank() == 4 && w.numel() > 0, "wants a weight of four axes, none empty: input {}, weight {}", in, w);
  const Padding2d padding = checked_padding(op, o.padding, {w[1], w[2]}, o.stride, o.dilation, in);
  op.check(o.groups >= 1, "groups {}: wants at least 1: input {}, weight {}", o.groups, in, w);

  const int64_t first = w[0], last = saturating(w[3], o.groups, 0);
  const int64_t in_channels = transposed ? first : last, out_channels = transposed ? last : first;
  op.check(in[3] == in_channels, "input has {} channels, weight {} wants {}{}: input {}", in[3], w, in_channels,
           o.groups > 1 && !transposed ? fmt::format(" (groups {})", o.groups) : "", in);
  op.check(first % o.groups == 0, "groups {} do not divide the {} {} channels: input {}, weight {}", o.groups, first,
           transposed ? "input" : "output", in, w);
  op.check(!bias.defined() || bias.shape() == Shape{out_channels}, "bias is {}, weight {} wants [{}]: input {}",
           bias.defined() ? bias.shape() : Shape{}, w, out_channels, in);
  ConvGeometry g = {.n = in[0], .c = last, .oc = first, .kh = w[1], .kw = w[2]};
  g.stride = o.stride, g.padding = padding.before(), g.padding_after = padding.after();
  g.dilation = o.dilation, g.groups = o.groups;
  return g;
}

Padding2d checked_padding(const Op& op, const Padding2d& padding, Pair kernel, Pair stride, Pair dilation,
                          const Shape& in) {
  const auto check = [&](const char* name, Pair p, int64_t least) {
    op.check(std::min(p.h, p.w) >= least, "{} {}: wants at least {}: input {}", name, shape_of(p), least, in);
    op.check(in_steps(p), "{} {}: wants at most {}: input {}", name, shape_of(p), kMaxStep, in);
  };
  check("stride", stride, 1), check("dilation", dilation, 1);
  Padding2d p = padding;
  if (padding.is_same) {
    const auto total = [](const WindowAxis& axis, int64_t inputs) {
      return inputs > 0 ? std::max<int64_t>(axis.inputs((inputs - 1) / axis.stride + 1) - inputs, 0) : 0;
    };
    const Pair all = {total({kernel.h, stride.h, 0, dilation.h}, in[1]),
                      total({kernel.w, stride.w, 0, dilation.w}, in[2])};
    p = {all.h / 2, all.h - all.h / 2, all.w / 2, all.w - all.w / 2};
  }
  check("padding", p.before(), 0), check("padding", p.after(), 0);
  return p;
}

ConvGeometry conv2d_geometry(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                             const Conv2dOptions& o) {
  ConvGeometry g = check_convolution(op, x, weight, bias, o, false);
  const Shape &in = x.shape(), &w = weight.shape();
  g.algorithm = o.algorithm;
  g.h = in[1], g.w = in[2];
  g.oh = g.rows().outputs(g.h, g.padding_after.h), g.ow = g.columns().outputs(g.w, g.padding_after.w);
  op.check(g.oh > 0 && g.ow > 0, "kernel of weight {} with dilation {} is larger than input {} padded by {}, {}", w,
           shape_of(o.dilation), in, shape_of(g.padding), shape_of(g.padding_after));
  op.check(cpu::can_do(o.algorithm, g, x.dtype()),
           "the {} algorithm cannot do stride {}, dilation {}, groups {} in {}: input {}, weight {}",
           cpu::name_of(o.algorithm), shape_of(o.stride), shape_of(o.dilation), o.groups, x.dtype(), in, w);
  return g;
}

}  // namespace norma
