#include "norma/ops/conv/conv2d.h"

#include "norma/autograd/op.h"
#include "norma/ops/conv/kernels.h"
#include "norma/ops/reduce/reduce.h"

namespace norma {

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options) {
  Op op("conv2d");
  const ConvGeometry g = conv2d_geometry(op, x, weight, bias, options);
  if (options.padding_mode != PadMode::zeros) {
    const Pair &low = g.padding, &high = g.padding_after;
    Conv2dOptions o = options;
    o.padding = 0, o.padding_mode = PadMode::zeros;
    return conv2d(pad(x, {{0, 0}, {low.h, high.h}, {low.w, high.w}, {0, 0}}, options.padding_mode), weight, bias, o);
  }
  const Tensor in = x.contiguous(), w = weight.contiguous();
  Tensor y({g.n, g.oh, g.ow, g.oc}, x.dtype(), x.device());
  kernel::conv2d_forward(g, in, w, bias.contiguous(), y);
  return op.record({x, weight, bias}, y,
                   [g, in = op.save_for(weight, in), w = op.save_for(x, w)](const Tensor& upstream, Sink& dx) {
                     const Tensor dy = upstream.contiguous();
                     dx.write(0, kernel::conv2d_backward_input, g, dy, w);
                     dx.write(1, kernel::conv2d_backward_weight, g, in, dy);
                     if (dx.wants(2)) dx.give(2, sum(dy, {0, 1, 2}));
                   });
}

namespace cpu {

// What does this pass.
template <class T>
static const ConvPasses<T>& passes(const ConvGeometry& g, int64_t filters) {
  [[maybe_unused]] const ConvKernel* kernel = vectorised(g, dtype_of<T>(), filters);
  if constexpr (std::is_same_v<T, float>) return kernel ? *kernel : im2col_f32;
  else return im2col_f64;
}

void conv2d_forward(ConvGeometry g, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y) {
  dispatch_floating("conv2d", x.dtype(), [&]<class T>() {
    passes<T>(g, g.oc).forward(g, x.data<T>(), weight.data<T>(), bias.data_or_null<T>(), y.mutable_data<T>(), nullptr);
  });
}

void conv2d_backward_input(ConvGeometry g, const Tensor& dy, const Tensor& weight, const Tensor& dx, bool add) {
  dispatch_floating("conv2d", dy.dtype(), [&]<class T>() {
    passes<T>(g, g.c).backward_input(g, dy.data<T>(), weight.data<T>(), dx.mutable_data<T>(), add);
  });
}

void conv2d_backward_weight(ConvGeometry g, const Tensor& x, const Tensor& dy, const Tensor& dw, bool add) {
  dispatch_floating("conv2d", x.dtype(), [&]<class T>() {
    passes<T>(g, g.oc).backward_weight(g, x.data<T>(), dy.data<T>(), dw.mutable_data<T>(), add);
  });
}

}  // namespace cpu
}  // namespace norma
