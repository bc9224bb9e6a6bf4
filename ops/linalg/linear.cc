#include "norma/ops/linalg/linear.h"

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"
#include "norma/ops/conv/kernels.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/gemm.h"

namespace norma {
namespace {

// [..., n] -> [rows, n]
Tensor as_rows(const Tensor& x) { return view::reshape(x, {x.shape().without(x.rank() - 1).numel(), x.dim(-1)}); }

}  // namespace

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  Op op("linear");
  op.check_same({input, weight, bias});
  op.check(weight.rank() == 2, "weight {} is not [out, in]: input {}", weight.shape(), input.shape());
  op.check(input.rank() >= 1 && input.dim(-1) == weight.dim(1), "input {} does not end in the {} features of weight {}",
           input.shape(), weight.dim(1), weight.shape());
  op.check(!bias.defined() || bias.shape() == Shape{weight.dim(0)}, "bias {} does not fit weight {}",
           bias.defined() ? bias.shape() : Shape{}, weight.shape());
  const Tensor x = as_rows(input), w = weight.contiguous();
  Tensor y(input.shape().with(input.rank() - 1, w.dim(0)), x.dtype(), x.device());
  kernel::linear(x, w, bias.defined() ? bias.contiguous() : bias, as_rows(y));
  return op.record({input, weight, bias}, y,
                   [x = op.save(Op::records({weight}) ? x : Tensor()),
                    w = op.save(Op::records({input}) ? w : Tensor())](const Tensor& upstream, Sink& dx) {
                     const Tensor dy = as_rows(upstream);
                     if (dx.wants(0)) {
                       const auto [grad, add] = dx.into(0);
                       kernel::linear_backward_x(dy, w, as_rows(grad), add);
                     }
                     if (dx.wants(1)) {
                       const auto [grad, add] = dx.into(1);
                       kernel::linear_backward_weight(dy, x, grad, add);
                     }
                     if (dx.wants(2)) dx.give(2, sum_to(dy, dx.shape(2)));
                   });
}

namespace cpu {
namespace {

// Where there are rows enough to be worth packing the weight, a row is a pixel of a 1x1 convolution: those kernels use
// vectors as wide as this CPU has, which not every OpenBLAS does. Null: not so.
const ConvKernel* pixels(int64_t rows, int64_t in, int64_t out) {
  return rows >= 16 && in >= 16 && out >= 16 ? &NORMA_SIMD_BEST(direct) : nullptr;
}
ConvGeometry row_of_pixels(int64_t rows, int64_t in, int64_t out) {
  return {1, 1, rows, in, 1, rows, out, 1, 1, 1, 0, 1, 1};
}

}  // namespace

void linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y) {
  dispatch_floating("linear", x.dtype(), [&]<class T>() {
    const int64_t rows = y.dim(0), out = y.dim(1), in = x.dim(1);
    T* to = y.mutable_data<T>();
    if constexpr (std::is_same_v<T, float>)
      if (const ConvKernel* conv = pixels(rows, in, out))
        return conv->forward(row_of_pixels(rows, in, out), x.data<T>(), weight.data<T>(),
                             bias.defined() ? bias.data<T>() : nullptr, to, nullptr);
    if (bias.defined()) {
      const T* b = bias.data<T>();
      parallel_for(rows, 1 + 16384 / (out + 1), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) std::copy_n(b, out, to + i * out);
      });
    }
    parallel_gemm(false, true, rows, out, in, 1, x.data<T>(), in, weight.data<T>(), in, bias.defined() ? 1 : 0, to,
                  out);
  });
}

void linear_backward_x(const Tensor& dy, const Tensor& weight, const Tensor& dx, bool add) {
  dispatch_floating("linear", dy.dtype(), [&]<class T>() {
    const int64_t out = weight.dim(0), in = weight.dim(1), rows = dy.dim(0);
    if constexpr (std::is_same_v<T, float>)
      if (const ConvKernel* conv = pixels(rows, in, out))
        return conv->backward_input(row_of_pixels(rows, in, out), dy.data<T>(), weight.data<T>(), dx.mutable_data<T>(),
                                    add);
    parallel_gemm(false, false, rows, in, out, 1, dy.data<T>(), out, weight.data<T>(), in, add ? 1 : 0,
                  dx.mutable_data<T>(), in);
  });
}

void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dweight, bool add) {
  dispatch_floating("linear", dy.dtype(), [&]<class T>() {
    const int64_t out = dy.dim(1), in = x.dim(1), rows = dy.dim(0);
    if constexpr (std::is_same_v<T, float>)
      if (const ConvKernel* conv = pixels(rows, in, out))
        return conv->backward_weight(row_of_pixels(rows, in, out), x.data<T>(), dy.data<T>(), dweight.mutable_data<T>(),
                                     add);
    parallel_gemm(true, false, out, in, rows, 1, dy.data<T>(), out, x.data<T>(), in, add ? 1 : 0,
                  dweight.mutable_data<T>(), in);
  });
}

}  // namespace cpu
}  // namespace norma
