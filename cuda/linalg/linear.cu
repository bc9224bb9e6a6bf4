#include "norma/cuda/linalg/gemm.h"
#include "norma/ops/linalg/linear.h"

namespace norma::cuda {
namespace {

// C (+)= op(A) op(B), whole tensors.
void product(bool trans_a, bool trans_b, const Tensor& a, const Tensor& b, const Tensor& c, bool add) {
  dispatch_floating("linear", c.dtype(), [&]<class T>() {
    gemm<T>("linear", trans_a, trans_b, c.dim(0), c.dim(1), a.dim(trans_a ? 0 : 1), {a.cuda_data<T>(), a.dim(1), 0},
            {b.cuda_data<T>(), b.dim(1), 0}, add, {c.mutable_cuda_data<T>(), c.dim(1), 0});
  });
}

}  // namespace

void linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y) {
  if (bias.defined()) y.copy_from(view::expand(bias, y.shape()));
  product(false, true, x, weight, y, bias.defined());
}
void linear_backward_x(const Tensor& dy, const Tensor& weight, const Tensor& dx, bool add) {
  product(false, false, dy, weight, dx, add);
}
void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dweight, bool add) {
  product(true, false, dy, x, dweight, add);
}

}  // namespace norma::cuda
