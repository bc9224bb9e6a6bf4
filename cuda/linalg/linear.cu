#include "norma/ops/linalg/linear.h"
#include "norma/ops/linalg/matmul.h"

namespace norma::cuda {

void linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y) {
  if (bias.defined()) y.copy_from(view::expand(bias, y.shape()));
  matmul(false, true, x, weight, y, bias.defined());
}
void linear_backward_input(const Tensor& dy, const Tensor& weight, const Tensor& dx, bool add) {
  matmul(false, false, dy, weight, dx, add);
}
void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dweight, bool add) {
  matmul(true, false, dy, x, dweight, add);
}

}  // namespace norma::cuda
