// x += y and the like: arithmetic in the memory of x, for whoever owns it. A step of an optimizer by hand, where no
// tape is or under NoGrad:  w -= 0.1 * w.grad();
#pragma once

#include "norma/autograd/op.h"
#include "norma/ops/elementwise/binary.h"

namespace norma {

// Writes the elements of `value`, which may be on another device, into x's, and returns x. Never recorded. Whatever
// shares memory with x has them, too: views of x; what x is a view of, so that x[0] += 1 changes x; and gradients,
// since several leaves may share one (set_grad(g * s) scales that of one leaf). Errors: this thread's tape follows x or
// the value, whose gradient would be lost; another shape or dtype; x is saved for a gradient, or a view in which
// several elements are one place.
inline const Tensor& overwrite(const Tensor& x, const Tensor& value) {
  const Op op("overwrite");
  op.check(!Op::records({x, value}), "a tape follows this and does not record it: use NoGrad: shape {}", x.shape());
  op.check(value.shape() == x.shape() && value.dtype() == x.dtype(), "{} ({}) does not go into {} ({})", value.shape(),
           value.dtype(), x.shape(), x.dtype());
  x.copy_from(value);
  return x;
}

// x = x + y, written over x; y is a tensor or a number, which broadcasts to x's shape and does not make it grow.
// Errors: those of overwrite and of the function.
#define NORMA_IN_PLACE(symbol, f) \
  const Tensor& operator symbol(const Tensor& x, const auto& y) { return overwrite(x, f(x.detach(), y)); }
NORMA_IN_PLACE(+=, add)
NORMA_IN_PLACE(-=, sub)
NORMA_IN_PLACE(*=, mul)
NORMA_IN_PLACE(/=, div)
#undef NORMA_IN_PLACE

}  // namespace norma
