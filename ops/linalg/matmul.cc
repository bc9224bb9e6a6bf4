#include "norma/ops/linalg/matmul.h"

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/gemm.h"

namespace norma {
namespace {

// The shape of x's leading axes; and with two extents put after them.
Shape leading(const Tensor& x) { return Shape(std::span(x.shape().begin(), static_cast<size_t>(x.rank() - 2))); }
Shape with_matrix(Shape batch, int64_t rows, int64_t columns) {
  batch.push_back(rows);
  batch.push_back(columns);
  return batch;
}

// y (+)= op(a) op(b), a and b broadcast to y's leading axes.
void multiply(bool trans_a, bool trans_b, const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
  const auto operand = [&](const Tensor& x) {
    return view::expand(x.contiguous(), with_matrix(leading(y), x.dim(-2), x.dim(-1)));
  };
  kernel::matmul(trans_a, trans_b, operand(a), operand(b), y, add);
}

}  // namespace

Tensor matmul(const Tensor& left, const Tensor& b) {
  Op op("matmul");
  op.check_same({left, b});
  op.check(left.rank() >= 2 && b.rank() >= 2, "wants matrices: a {}, b {}", left.shape(), b.shape());
  op.check(left.dim(-1) == b.dim(-2), "a has {} columns, b has {} rows: a {}, b {}", left.dim(-1), b.dim(-2),
           left.shape(), b.shape());
  const Shape batch = broadcast_shapes("matmul", leading(left), leading(b));
  Tensor y(with_matrix(batch, left.dim(-2), b.dim(-1)), left.dtype(), left.device());
  // One matrix b for all of a's: the rows of all of them make one product.
  const bool joined = b.rank() == 2 && left.rank() > 2;
  const Tensor a = joined ? view::reshape(left, {leading(left).numel() * left.dim(-2), left.dim(-1)}) : left;
  const Shape product = joined ? Shape{a.dim(0), b.dim(1)} : y.shape();
  multiply(false, false, a, b, view::reshape(y, product), false);
  return op.record({left, b}, y,
                   [a = op.save(Op::records({b}) ? a : Tensor()), b = op.save(Op::records({left}) ? b : Tensor()),
                    shapes = std::array{a.shape(), b.shape()}, product](const Tensor& upstream, Sink& dx) {
                     const Tensor dy = view::reshape(upstream, product);
                     for (size_t side : {0, 1}) {
                       if (!dx.wants(side)) continue;
                       const Shape &shape = shapes[side], full = with_matrix(leading(dy), shape.dim(-2), shape.dim(-1));
                       const bool broadcast = full != shape;
                       const auto [grad, add] =
                           broadcast ? Sink::Target{Tensor(full, dy.dtype(), dy.device()), false} : dx.into(side);
                       const Tensor target = view::reshape(grad, full);
                       if (side == 0) multiply(false, true, dy, b, target, add);  // dy b^T
                       else multiply(true, false, a, dy, target, add);            // a^T dy
                       if (broadcast) dx.give(side, view::reshape(sum_to(grad, shape), dx.shape(side)));
                     }
                   });
}

void set_matmul_precision(std::string_view name) {
  check(name == "highest" || name == "high", "matmul", "'{}' is not a precision: want highest or high", name);
  matmul_precision = name == "high" ? MatmulPrecision::high : MatmulPrecision::highest;
}

void cpu::matmul(bool trans_a, bool trans_b, const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
  dispatch_floating("matmul", y.dtype(), [&]<class T>() {
    const T *p = a.data<T>(), *q = b.data<T>();
    T* to = y.mutable_data<T>();
    const int64_t m = y.dim(-2), n = y.dim(-1), k = a.dim(trans_a ? -2 : -1);
    const int64_t products = leading(y).numel();
    const auto run = [&](auto product, int64_t i) {
      int64_t at_a = 0, at_b = 0, rest = i;
      for (int axis = y.rank() - 3; axis >= 0; --axis) {
        at_a += rest % y.dim(axis) * a.strides()[axis];
        at_b += rest % y.dim(axis) * b.strides()[axis];
        rest /= y.dim(axis);
      }
      product(trans_a, trans_b, m, n, k, T(1), p + at_a, a.dim(-1), q + at_b, b.dim(-1), T(add), to + i * m * n, n);
    };
    if (products >= 16) {  // many products are shared out, few are each cut
      parallel_for(products, 1 + (1 << 18) / (m * n * k + 1), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) run(gemm<T>, i);
      });
    } else {
      for (int64_t i = 0; i < products; ++i) run(parallel_gemm<T>, i);
    }
  });
}

}  // namespace norma
