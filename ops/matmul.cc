#include "norma/ops/matmul.h"

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"
#include "norma/ops/binary.h"
#include "norma/ops/gemm.h"

namespace norma {
namespace {

// The shape of x's leading axes; with two extents put after them.
Shape leading(const Tensor& x) { return Shape(std::span(x.shape().begin(), static_cast<size_t>(x.rank() - 2))); }
Shape with_matrix(Shape batch, int64_t rows, int64_t columns) {
  batch.push_back(rows);
  batch.push_back(columns);
  return batch;
}

Tensor transposed(const Tensor& x) {
  Shape order;
  for (int i = 0; i < x.rank() - 2; ++i) order.push_back(i);
  return view::permute(x, with_matrix(order, x.rank() - 1, x.rank() - 2));
}

// How BLAS would read a matrix with these strides: as it is, transposed, or not at all.
enum class Order { rows, columns, none };
Order order_of(const Tensor& x) {
  const int64_t rows = x.dim(-2), columns = x.dim(-1);
  const int64_t down = x.strides()[x.rank() - 2], right = x.strides()[x.rank() - 1];
  if ((right == 1 || columns == 1) && (down >= columns || rows == 1)) return Order::rows;
  if ((down == 1 || rows == 1) && (right >= rows || columns == 1)) return Order::columns;
  return Order::none;
}

// y (+)= a b, a and b broadcast to y's leading axes.
void multiply(const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
  const auto operand = [&](const Tensor& x) {
    const Tensor readable = order_of(x) == Order::none ? x.contiguous() : x;
    return view::expand(readable, with_matrix(leading(y), x.dim(-2), x.dim(-1)));
  };
  kernel::matmul(operand(a), operand(b), y, add);
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
  multiply(a, b, view::reshape(y, product), false);
  return op.record({left, b}, y, [a = op.save(a), b = op.save(b), product](const Tensor& upstream, Sink& dx) {
    const Tensor dy = view::reshape(upstream, product);
    const Shape outer = leading(dy);
    for (size_t side : {0, 1}) {
      if (!dx.wants(side)) continue;
      const Tensor& x = side == 0 ? *a : *b;
      const Shape full = with_matrix(outer, x.dim(-2), x.dim(-1));
      const bool broadcast = full != x.shape();
      const auto [grad, add] = broadcast ? Sink::Target{Tensor(full, x.dtype(), x.device()), false} : dx.into(side);
      const Tensor target = view::reshape(grad, full);
      if (side == 0) multiply(dy, transposed(b), target, add);
      else multiply(transposed(a), dy, target, add);
      if (broadcast) dx.give(side, view::reshape(sum_to(grad, x.shape()), dx.shape(side)));
    }
  });
}

void cpu::matmul(const Tensor& a, const Tensor& b, const Tensor& y, bool add) {
  dispatch_floating("matmul", y.dtype(), [&]<class T>() {
    const T *p = a.data<T>(), *q = b.data<T>();
    T* to = y.mutable_data<T>();
    const int64_t m = y.dim(-2), n = y.dim(-1), k = a.dim(-1);
    const int64_t products = leading(y).numel();
    const bool trans_a = order_of(a) == Order::columns, trans_b = order_of(b) == Order::columns;
    const auto row_stride = [](const Tensor& x, bool trans) {
      const int axis = x.rank() - (trans ? 1 : 2);
      return std::max(x.strides()[axis], x.dim(trans ? -2 : -1));  // the stride of a single row says nothing
    };
    const int64_t lda = row_stride(a, trans_a), ldb = row_stride(b, trans_b);
    const auto run = [&](auto multiplier, int64_t i) {
      int64_t at_a = 0, at_b = 0, rest = i;
      for (int axis = y.rank() - 3; axis >= 0; --axis) {
        at_a += rest % y.dim(axis) * a.strides()[axis];
        at_b += rest % y.dim(axis) * b.strides()[axis];
        rest /= y.dim(axis);
      }
      multiplier(trans_a, trans_b, m, n, k, T(1), p + at_a, lda, q + at_b, ldb, T(add), to + i * m * n, n);
    };
    // Many products are shared out; few are each cut.
    if (products >= 16) {
      parallel_for(products, 1 + (1 << 18) / (m * n * k + 1), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) run(gemm<T>, i);
      });
    } else {
      for (int64_t i = 0; i < products; ++i) run(parallel_gemm<T>, i);
    }
  });
}

}  // namespace norma
