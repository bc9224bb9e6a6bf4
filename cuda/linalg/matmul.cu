#include "norma/core/strided.h"
#include "norma/cuda/linalg/gemm.h"
#include "norma/ops/linalg/matmul.h"

namespace norma::cuda {

void matmul(bool trans_a, bool trans_b, const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
  const int64_t m = y.dim(-2), n = y.dim(-1), k = a.dim(trans_a ? -2 : -1);
  const auto leading = [&](const Shape& x) { return Shape(std::span(x.begin(), static_cast<size_t>(y.rank() - 2))); };
  // Leading axes along which all three advance by a step are one batch; others are walked through.
  const StridedLoop<3> loop(leading(y.shape()), {leading(a.strides()), leading(b.strides()), leading(y.strides())});
  const int64_t count = loop.shape().back(), batches = count > 0 ? loop.shape().numel() / count : 0;
  dispatch_floating("matmul", y.dtype(), [&]<class T>() {
    for (int64_t i = 0; i < batches; ++i) {
      const auto at = loop.offsets(i * count);
      gemm<T>("matmul", trans_a, trans_b, m, n, k, {a.cuda_data<T>() + at[0], a.dim(-1), loop.inner[0]},
              {b.cuda_data<T>() + at[1], b.dim(-1), loop.inner[1]}, add,
              {y.mutable_cuda_data<T>() + at[2], n, loop.inner[2]}, count);
    }
  });
}

}  // namespace norma::cuda
