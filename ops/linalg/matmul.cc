#include "norma/ops/linalg/matmul.h"

#include "norma/autograd/op.h"
#include "norma/core/strided.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/gemm.h"

namespace norma {
// All axes but the last two, of a shape or of strides; and with two put after them.
static Shape leading(const Shape& shape) { return Shape(std::span(shape.begin(), shape.rank() - 2)); }
static Shape with_matrix(Shape leading, int64_t rows, int64_t columns) {
  leading.push_back(rows);
  leading.push_back(columns);
  return leading;
}

// y (+)= op(a) op(b), a and b broadcast to y's leading axes.
static void multiply(bool trans_a, bool trans_b, const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
  const auto operand = [&](const Tensor& x) {
    return view::expand(x.contiguous(), with_matrix(leading(y.shape()), x.dim(-2), x.dim(-1)));
  };
  kernel::matmul(trans_a, trans_b, operand(a), operand(b), y, add);
}

Tensor matmul(const Tensor& left, const Tensor& b) {
  const Op op("matmul", {left, b});
  op.check(left.rank() >= 2 && b.rank() >= 2, "wants matrices: a {}, b {}", left.shape(), b.shape());
  op.check(left.dim(-1) == b.dim(-2), "a has {} columns, b has {} rows: a {}, b {}", left.dim(-1), b.dim(-2),
           left.shape(), b.shape());
  const Shape batch = broadcast_shapes("matmul", leading(left.shape()), leading(b.shape()));
  Tensor y(with_matrix(batch, left.dim(-2), b.dim(-1)), left.dtype(), left.device());
  // One matrix b for all of a's: the rows of all of them make one product.
  const bool joined = b.rank() == 2 && left.rank() > 2;
  const Tensor a = joined ? view::reshape(left, {batch.numel() * left.dim(-2), left.dim(-1)}) : left;
  const Shape product = joined ? Shape{a.dim(0), b.dim(1)} : y.shape();
  multiply(false, false, a, b, view::reshape(y, product), false);
  return op.record(
      {left, b}, y,
      [a = op.save_for(b, a), b = op.save_for(left, b), shapes = std::array{a.shape(), b.shape()}, product](
          const Tensor& upstream, Sink& dx) {
        const Tensor dy = view::reshape(upstream, product);
        for (size_t side : {0, 1}) {
          if (!dx.wants(side)) continue;
          const Shape& shape = shapes[side];
          const Shape full = with_matrix(leading(product), shape.dim(-2), shape.dim(-1));
          const bool whole = full == shape;  // else broadcast: the sum of what reaches its copies
          const auto [grad, add] = whole ? dx.into(side) : Sink::Target{Tensor(full, dy.dtype(), dy.device()), false};
          const Tensor to = view::reshape(grad, full);
          if (side == 0) multiply(false, true, dy, b, to, add);  // dy b^T
          else multiply(true, false, a, dy, to, add);            // a^T dy
          if (!whole) dx.give(side, sum_to(grad, shape));
        }
      });
}

void set_matmul_precision(std::string_view name) {
  check(name == "highest" || name == "high", "matmul", "'{}' is not a precision: want highest or high", name);
  matmul_precision = name == "high" ? MatmulPrecision::high : MatmulPrecision::highest;
}

void cpu::matmul(bool trans_a, bool trans_b, const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
  dispatch_floating("matmul", y.dtype(), [&]<class T>() {
    const T *p = a.strided_data<T>(), *q = b.strided_data<T>();
    T* to = y.mutable_data<T>();
    const int64_t m = y.dim(-2), n = y.dim(-1), k = a.dim(trans_a ? -2 : -1);
    const StridedLoop<2> batch(leading(y.shape()), {leading(a.strides()), leading(b.strides())});
    const auto run = [&](auto product, int64_t i) {
      const auto at = batch.offsets(i);
      product(Matrix<const T>{p + at[0], a.dim(-2), a.dim(-1)}.transpose(trans_a),
              Matrix<const T>{q + at[1], b.dim(-2), b.dim(-1)}.transpose(trans_b), Matrix<T>{to + i * m * n, m, n},
              add);
    };
    const int64_t products = leading(y.shape()).numel();
    if (y.numel() == 0) return;
    if (products >= 16) {  // many products are shared out, few are each cut
      parallel_each(products, 1 + (1 << 18) / (m * n * k + 1), [&](int64_t i) { run(gemm<T>, i); });
    } else {
      for (int64_t i = 0; i < products; ++i) run(parallel_gemm<T>, i);
    }
  });
}

}  // namespace norma
