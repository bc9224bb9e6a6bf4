// Made of norm and max_pool2d, whose kernels follow each other through memory: what is between the two lives as long as
// the call.
#include "norma/ops/norm/kernels.h"
#include "norma/ops/norm/norm_max_pool.h"

namespace norma::cuda {

// The last argument, the winners, is left as it is: the way back computes the activation's argument from x.
void norm_max_pool(const Tensor& x, const NormCall& call, const PoolGeometry& g, const Tensor& y, const Tensor& place,
                   const Tensor&) {
  const Tensor between = empty_like(x), none;
  norm_forward({&x, 1}, call, {.residual = {&none, 1}, .y = {&between, 1}, .mask = {&none, 1}});
  max_pool2d(g, between, y, place);
}

void norm_max_pool_backward(const Tensor& x, const NormCall& call, const PoolGeometry& g, const Tensor& dy,
                            const Tensor& place, const Tensor&, const Tensor& dx, const Tensor& affine) {
  const Tensor between = dx.defined() ? dx : empty_like(x), no_mask;
  max_pool2d_backward(g, dy, place, between, false);
  const Sink::Target to = {dx, false}, no_residual = {};
  norm_backward(
      {&x, 1}, call,
      {.mask = {&no_mask, 1}, .dy = {&between, 1}, .dx = {&to, 1}, .dresidual = {&no_residual, 1}, .affine = affine});
}

}  // namespace norma::cuda
