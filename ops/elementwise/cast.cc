#include "norma/ops/elementwise/cast.h"

#include "norma/autograd/op.h"

namespace norma {

template <class Kind>
static Tensor moved(const Tensor& x, Kind (Tensor::*kind)() const, Kind wanted) {
  const Op op("to");
  const Kind from = (x.*kind)();
  const Tensor y = x.to(wanted).detach();
  if (!y.is_floating()) return y;
  return op.record({x}, y, [from](const Tensor& dy, Sink& dx) { dx.give(0, dy.to(from)); });
}

Tensor to(const Tensor& x, DType dtype) { return moved(x, &Tensor::dtype, dtype); }
Tensor to(const Tensor& x, Device device) { return moved(x, &Tensor::device, device); }

}  // namespace norma
