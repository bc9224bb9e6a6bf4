// Made of norm and max_pool2d, whose kernels follow each other through memory: what is between the two lives as long as
// the call.
#include "norma/ops/norm/kernels.h"
#include "norma/ops/norm/norm_max_pool.h"

namespace norma::cuda {

// `winner` is left as it is: the way back computes the activation's argument from x.
void norm_max_pool(const Tensor& x, const NormCall& call, const PoolGeometry& g, const PooledOutputs& to) {
  const Tensor between = empty_like(x);
  norm_forward({&x, 1}, call, {.residual = {}, .y = {&between, 1}, .mask = {}});
  max_pool2d(g, between, to.y, to.place);
}

void norm_max_pool_backward(const Tensor& x, const NormCall& call, const PoolGeometry& g, const PooledGradients& to) {
  const Tensor between = to.dx.defined() ? to.dx : empty_like(x);
  max_pool2d_backward(g, to.dy, to.place, between, false);
  const char assigned = false;
  norm_backward({&x, 1}, call,
                {.mask = {},
                 .dy = {&between, 1},
                 .dx = {&to.dx, 1},
                 .dresidual = {},
                 .add_dx = {&assigned, 1},
                 .add_dresidual = {},
                 .affine = to.affine});
}

}  // namespace norma::cuda
