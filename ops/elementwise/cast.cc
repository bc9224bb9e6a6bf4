#include "norma/ops/elementwise/cast.h"

#include "norma/autograd/op.h"

namespace norma {

template <class Kind>
static Tensor moved(const Op& op, const Tensor& x, Kind from, Kind wanted) {
  const Tensor y = from == wanted ? x.detach() : x.to(wanted);
  if (!y.is_floating()) return y;
  return op.record({x}, y, [from](const Tensor& dy, Sink& dx) { dx.give(0, dy.to(from)); });
}

Tensor to(const Tensor& x, DType dtype) {
  const Op op("to");
  return moved(op, x, x.dtype(), dtype);
}

Tensor to(const Tensor& x, Device device) {
  const Op op("to");
  return moved(op, x, x.device(), device);
}

}  // namespace norma
