#include "norma/ops/linalg/linear.h"

#include <optional>

#include "norma/autograd/op.h"
#include "norma/ops/conv/conv2d.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/linalg/matmul.h"

namespace norma {

// [..., n] -> [rows, n]
static Tensor as_rows(const Tensor& x) {
  return view::reshape(x, {x.shape().without(x.rank() - 1).numel(), x.dim(-1)});
}

// linear as a 1x1 convolution, if that is worth it: on the CPU the rows of x [rows, in] are the pixels of one image.
// With rows enough to pay for packing the weight, the convolution's kernels win: their vectors are as wide as this CPU
// has, which is not so in every OpenBLAS.
static std::optional<ConvGeometry> as_convolution(const Tensor& x, const Tensor& weight) {
  const int64_t rows = x.dim(0), in = weight.dim(1), out = weight.dim(0);
  if (!x.device().is_cpu() || x.dtype() != f32 || rows < 16 || in < 16 || out < 16) return {};
  ConvGeometry g = {.n = 1, .h = 1, .w = rows, .c = in, .oh = 1, .ow = rows, .oc = out, .kh = 1, .kw = 1};
  g.algorithm = ConvAlgorithm::direct;
  return g;
}

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  const Op op("linear", {input, weight, bias});
  op.check(weight.rank() == 2, "weight {} is not [out, in]: input {}", weight.shape(), input.shape());
  op.check(input.rank() >= 1 && input.dim(-1) == weight.dim(1), "input {} does not end in the {} features of weight {}",
           input.shape(), weight.dim(1), weight.shape());
  op.check(!bias.defined() || bias.shape() == Shape{weight.dim(0)}, "bias {} does not fit weight {}",
           bias.defined() ? bias.shape() : Shape{}, weight.shape());
  const Tensor x = as_rows(input), w = weight.contiguous();
  const Tensor y(input.shape().with(input.rank() - 1, w.dim(0)), x.dtype(), x.device()), rows = as_rows(y);
  const auto g = as_convolution(x, w);
  if (bias.defined() && !g) rows.copy_from(view::expand(bias, rows.shape()));
  if (g) kernel::conv2d_forward(*g, x, w, bias.contiguous(), rows);
  else kernel::matmul(false, true, x, w, rows, bias.defined());
  return op.record({input, weight, bias}, y,
                   [g, x = op.save_for(weight, x), w = op.save_for(input, w)](const Tensor& upstream, Sink& dx) {
                     const Tensor dy = as_rows(upstream);
                     dx.write(0, [&](const Tensor& grad, bool add) {
                       if (g) kernel::conv2d_backward_input(*g, dy, w, as_rows(grad), add);
                       else kernel::matmul(false, false, dy, w, as_rows(grad), add);
                     });
                     if (g) dx.write(1, kernel::conv2d_backward_weight, *g, x, dy);
                     else dx.write(1, kernel::matmul, true, false, dy, x);
                     if (dx.wants(2)) dx.give(2, sum_to(dy, dx.shape(2)));
                   });
}

}  // namespace norma
